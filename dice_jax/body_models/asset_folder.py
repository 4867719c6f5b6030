"""The folder of a user's licensed body models, and instructions for a missing one."""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

from dice_jax import user_folders


class Licensed(NamedTuple):
    """A model that each user must convert.

    Attributes:
        files: of the authors.
        site: where to register and download them.
        tool: module that converts them.
    """

    files: tuple[str, ...]
    site: str
    tool: str


_MANO = ("https://mano.is.tue.mpg.de", "dice_jax.tools.convert_mano")
_FLAME = ("https://flame.is.tue.mpg.de", "dice_jax.tools.convert_flame")
LICENSED = {
    "mano_right": Licensed(("MANO_RIGHT.pkl",), *_MANO),
    "mano_left": Licensed(("MANO_LEFT.pkl",), *_MANO),
    "flame": Licensed(("generic_model.pkl", "landmark_embedding.npy"), *_FLAME),
}


def assets_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """The folder of licensed files: `folder`, else $DICE_ASSETS, else ~/.cache/dice_jax/assets."""
    if folder:
        return user_folders.expand(folder)
    return user_folders.default_folder("DICE_ASSETS", "assets")


def missing(name: str, folder: str | os.PathLike | None = None) -> str | None:
    """One line on how to get the licensed model `name`; None if its converted file exists."""
    path, source = assets_folder(folder) / f"{name}.npz", LICENSED[name]
    if path.is_file():
        return None
    files = " and ".join(source.files)
    return (
        f"{path.name} is not in {path.parent}: register at {source.site}, put {files} into that "
        f"folder and run python -m {source.tool} --assets {path.parent} "
        "($DICE_ASSETS names another folder)"
    )


def model_path(path: str | os.PathLike) -> str:
    """Resolves the name of a licensed model to its converted file; returns any other path as it is.

    Raises:
        FileNotFoundError: the converted file is missing; the message explains how to get it.
    """
    if str(path) not in LICENSED:
        return str(path)
    instructions = missing(str(path))
    if instructions:
        raise FileNotFoundError(instructions)
    return str(assets_folder() / f"{path}.npz")
