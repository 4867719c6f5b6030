"""Folders in the user's home, which may not exist: a container's user often has none."""

from __future__ import annotations

import os
from pathlib import Path

from dice_jax.errors import UserError


def expand(path: str | os.PathLike) -> Path:
    """The path with a leading "~" replaced by the home folder.

    Raises:
        UserError: there is no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: this user has no home folder: write the path without ~") from None


def default_folder(variable: str, *below: str) -> Path:
    """The folder that an environment variable names, or one in ~/.cache/dice_jax.

    Args:
        variable: its name.
        below: names of folders below ~/.cache/dice_jax.

    Raises:
        UserError: the variable is not set and there is no home folder; the message names it.
    """
    if os.environ.get(variable):
        return expand(os.environ[variable])
    try:
        return Path("~/.cache/dice_jax", *below).expanduser()
    except RuntimeError:
        raise UserError(f"this user has no home folder: set ${variable} to a folder") from None
