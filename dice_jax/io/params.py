"""Parameters, cameras and per-vertex results of one photo, as an .npz readable with NumPy alone."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import camera
from dice_jax.geometry.crop import CropBox
from dice_jax.io import atomic
from dice_jax.structs import Prediction

_HAND_PARAMS = ("betas", "global_orient", "hand_pose", "transl")
_HEAD_PARAMS = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
_RESULTS = (
    "hand_vertices",
    "head_vertices",
    "deformations",
    "hand_contact_probs",
    "head_contact_probs",
    "contact_presence",
    "hand_keypoints_3d",
    "head_keypoints_3d",
)


def default_focal_length(height: int, width: int) -> float:
    """The diagonal of the photo in pixels: the field of view of a 43 mm lens on full frame."""
    return float(np.hypot(height, width))


def full_camera(
    prediction: Prediction,
    box: CropBox,
    photo_shape: tuple[int, int],
    focal_length: float | None = None,
) -> dict[str, Float[Array, "..."]]:
    """The pinhole camera of the whole photo that agrees with the camera of the crop.

    Args:
        prediction: of one image.
        box: the square of the photo that was cropped.
        photo_shape: height and width, pixels.
        focal_length: pixels; the diagonal of the photo by default.

    Returns:
        `focal_length` and `camera_center` (pixels), and `full_transl` (meters). To project
        head-centered points, add `full_transl` and use the pinhole camera of the other two.
    """
    height, width = photo_shape
    if focal_length is None:
        focal_length = default_focal_length(height, width)
    focal = jnp.float32(focal_length)
    center = jnp.array([width / 2, height / 2], jnp.float32)
    scale, transl = camera.crop_to_image(
        jnp.asarray(prediction.camera.scale),
        jnp.asarray(prediction.camera.transl),
        jnp.array([box.left, box.top, box.size], jnp.float32),
        CROP_SIZE,
    )
    full_transl = camera.orthographic_to_perspective(scale, transl, focal, center)
    return {"focal_length": focal, "camera_center": center, "full_transl": full_transl}


def to_arrays(
    prediction: Prediction,
    box: CropBox,
    photo_shape: tuple[int, int],
    *,
    hand: str = "right",
    focal_length: float | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of the parameter file, by name.

    Args:
        prediction: of one image, without leading dimensions.
        box: the square of the photo that was cropped.
        photo_shape: height and width, pixels.
        hand: "right" or "left".
        focal_length: pixels; the diagonal of the photo by default.

    Returns:
        | name | content |
        |---|---|
        | `hand_betas`, `head_expression`, ... | `hand_` or `head_`, and the name in smplx |
        | `hand_vertices`, `head_vertices` | meters, head-centered, undeformed |
        | `deformations` | meters; deformed = `head_vertices - deformations` |
        | `*_contact_probs`, `contact_presence` | probabilities, per vertex and per image |
        | `*_keypoints_3d`, `*_keypoints_2d` | meters; pixels of the PHOTO |
        | `cam_scale`, `cam_transl` | scaled orthography, pixels of the crop |
        | `crop_box` | left, top, side; pixels of the photo |
        | `image_size` | height, width; pixels of the photo |
        | `focal_length`, `camera_center`, `full_transl` | see `full_camera` |
        | `hand_side` | "right" or "left" |

        For a left hand the parameters pose the mirror image: negate the x of what they give to
        get the vertices.
    """
    arrays = {f"hand_{name}": getattr(prediction.hand_params, name) for name in _HAND_PARAMS}
    arrays |= {f"head_{name}": getattr(prediction.head_params, name) for name in _HEAD_PARAMS}
    arrays |= {name: getattr(prediction, name) for name in _RESULTS}
    arrays |= {
        "hand_keypoints_2d": box.to_photo(np.asarray(prediction.hand_keypoints_2d)),
        "head_keypoints_2d": box.to_photo(np.asarray(prediction.head_keypoints_2d)),
        "cam_scale": prediction.camera.scale,
        "cam_transl": prediction.camera.transl,
        "crop_box": [box.left, box.top, box.size],
        **full_camera(prediction, box, photo_shape, focal_length),
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    return arrays | {"image_size": np.array(photo_shape, np.int32), "hand_side": np.array(hand)}


def write_params(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays; the file is complete or absent."""
    with atomic.atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a file written by `write_params`."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)
