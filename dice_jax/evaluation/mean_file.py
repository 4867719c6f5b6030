"""The mean prediction of a data set as a file, so that nobody has to build the training split."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dice_jax.constants import (
    NUM_HAND_KEYPOINTS,
    NUM_HAND_VERTICES,
    NUM_HEAD_KEYPOINTS,
    NUM_HEAD_VERTICES,
)
from dice_jax.io import atomic
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction
from dice_jax.untrusted_files import npz

FILE = "mean_prediction.npz"
_ARRAYS = {
    "hand_vertices": (NUM_HAND_VERTICES, 3),
    "head_vertices": (NUM_HEAD_VERTICES, 3),
    "deformations": (NUM_HEAD_VERTICES, 3),
    "hand_keypoints_3d": (NUM_HAND_KEYPOINTS, 3),
    "head_keypoints_3d": (NUM_HEAD_KEYPOINTS, 3),
    "hand_keypoints_2d": (NUM_HAND_KEYPOINTS, 2),
    "head_keypoints_2d": (NUM_HEAD_KEYPOINTS, 2),
    "hand_contact_probs": (NUM_HAND_VERTICES,),
    "head_contact_probs": (NUM_HEAD_VERTICES,),
    "contact_presence": (),
}
_EXPECTED = {
    **{name: npz.Array(npz.FLOATS, shape) for name, shape in _ARRAYS.items()},
    "samples": npz.Array(npz.INTEGERS, ()),
    "data": npz.Array(npz.TEXT, ()),
}


def save(path: Path, mean: Prediction, data: str, samples: int) -> None:
    """Writes a mean prediction.

    Args:
        path: of the file, replaced if it exists.
        mean: from `reference_predictions.mean_prediction`.
        data: name and version of the data set whose training split was averaged.
        samples: how many samples of it.
    """
    arrays = {name: np.asarray(getattr(mean, name), np.float32) for name in _ARRAYS}
    with atomic.atomic_path(path) as temporary, open(temporary, "wb") as file:
        arrays |= {"samples": np.array(samples), "data": np.array(data)}
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load(path: Path, data: str) -> tuple[Prediction, int] | None:
    """Reads a mean prediction and the number of its samples; None if it is of other data.

    Args:
        path: of the file; None is returned if there is none.
        data: name and version of the data set.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return None
    arrays = npz.read_npz(path, _EXPECTED, what="a mean prediction (.npz)")
    if str(arrays["data"]) != data:
        return None
    values = {name: jnp.asarray(arrays[name]) for name in _ARRAYS}
    mean = Prediction(
        **values,
        deformed_head_vertices=values["head_vertices"] - values["deformations"],
        hand_params=HandParams(*(jnp.zeros(size) for size in (10, 3, 45, 3))),
        head_params=HeadParams(*(jnp.zeros(size) for size in (100, 50, 3, 3, 3, 3))),
        camera=Camera(jnp.zeros(()), jnp.zeros(2)),
    )
    return mean, int(arrays["samples"])
