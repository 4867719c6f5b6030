"""Vertices of the head that are never deformed: the authors force the neck's deformations to zero.

Decaf's assets contain the list of these vertices, `neck_idx.npy`. Converted weights keep it as
`still_vertices.npy`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from dice_jax.constants import NUM_HEAD_VERTICES
from dice_jax.errors import UserError
from dice_jax.untrusted_files import npy

FILE, SOURCE = "still_vertices.npy", "neck_idx.npy"


def read(path: str | os.PathLike) -> Int[np.ndarray, "N"]:
    """Reads the numbers of the rigid vertices.

    Raises:
        UserError: the file is not a plain array of vertex numbers of a head.
    """
    ids = npy.read_npy(path, remedy=f"use Decaf's assets/{SOURCE}")
    numeric = ids.dtype.kind in "iuf" and ids.size
    if not numeric or not np.isin(ids, np.arange(NUM_HEAD_VERTICES)).all():
        raise UserError(
            f"{path} does not hold vertex numbers of a head: use Decaf's assets/{SOURCE}"
        )
    return ids.ravel().astype(int)


def load(folder: str | os.PathLike) -> Bool[np.ndarray, "5023"] | None:
    """The mask of rigid vertices stored beside weights, or None if no file is there."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    rigid = np.zeros(NUM_HEAD_VERTICES, bool)
    rigid[read(path)] = True
    return rigid
