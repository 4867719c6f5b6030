"""Vertices of the head that never give way, whatever the network says: the authors blank the neck's
deformations.

Their list, `neck_idx.npy`, is among the assets of Decaf. Beside converted weights it lies as
`still_vertices.npy`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from dice_jax.errors import UserError

FILE, SOURCE = "still_vertices.npy", "neck_idx.npy"
_COUNT = 5023  # vertices of a head


def read(path: str | os.PathLike) -> Int[np.ndarray, "N"]:
    """The vertices that such a file names.

    Raises:
        UserError: it is not a plain array of vertex numbers of a head.
    """
    try:
        ids = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{path} is not a plain array ({error}): take Decaf's assets/{SOURCE}"
        ) from None
    if ids.dtype.kind not in "iuf" or not ids.size or not np.isin(ids, np.arange(_COUNT)).all():
        raise UserError(
            f"{path} does not hold numbers of vertices of a head: take Decaf's assets/{SOURCE}"
        )
    return ids.ravel().astype(int)


def load(folder: str | os.PathLike) -> Bool[np.ndarray, "5023"] | None:
    """Which vertices are still in the answers of the weights in `folder`; None where no file there
    says so.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    still = np.zeros(_COUNT, bool)
    still[read(path)] = True
    return still
