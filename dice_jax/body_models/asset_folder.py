"""The folder where each user keeps the licensed body models, and what to do about one that is not
there.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple


class Licensed(NamedTuple):
    """A model that each user converts for themselves: from which files, and where one registers for
    them.
    """

    files: tuple[str, ...]
    site: str
    tool: str


LICENSED = {
    "mano_right": Licensed(
        ("MANO_RIGHT.pkl",), "https://mano.is.tue.mpg.de", "dice_jax.tools.convert_mano"
    ),
    "mano_left": Licensed(
        ("MANO_LEFT.pkl",), "https://mano.is.tue.mpg.de", "dice_jax.tools.convert_mano"
    ),
    "flame": Licensed(
        ("generic_model.pkl", "landmark_embedding.npy"),
        "https://flame.is.tue.mpg.de",
        "dice_jax.tools.convert_flame",
    ),
}


def assets_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Where licensed files lie: `folder`, else $DICE_ASSETS, else ~/.cache/dice_jax/assets."""
    return pathlib.Path(
        folder or os.environ.get("DICE_ASSETS") or "~/.cache/dice_jax/assets"
    ).expanduser()


def missing(name: str, folder: str | os.PathLike | None = None) -> str | None:
    """What to do about the licensed model `name`, in one line; None where it lies converted in the
    folder of assets.
    """
    path, source = assets_folder(folder) / f"{name}.npz", LICENSED[name]
    if path.is_file():
        return None
    files = " and ".join(source.files)
    return (
        f"{path.name} is not in {path.parent}: register at {source.site}, put {files} into that folder and run "
        f"python -m {source.tool} --assets {path.parent} ($DICE_ASSETS names another folder)"
    )


def model_path(path: str | os.PathLike) -> str:
    """The file that `path` means: itself, or the converted file of a licensed model's name.

    Raises:
        FileNotFoundError: the licensed model is not there; the message says where to get it and
            where to put it.
    """
    if str(path) not in LICENSED:
        return str(path)
    complaint = missing(str(path))
    if complaint:
        raise FileNotFoundError(complaint)
    return str(assets_folder() / f"{path}.npz")
