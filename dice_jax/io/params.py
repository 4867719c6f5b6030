"""Parameters, camera and per-vertex results of one photo as an .npz that numpy alone can read."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.geometry import camera as cameras
from dice_jax.geometry.crop import CROP_SIZE, CropBox
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
    """The diagonal of the photo in pixels: a 43 mm lens on full frame, close to a normal lens."""
    return float(np.hypot(height, width))


def full_camera(
    prediction: Prediction,
    box: CropBox,
    photo_shape: tuple[int, int],
    focal_length: float | None = None,
) -> dict[str, Float[np.ndarray, "*N"]]:
    """The pinhole camera of the whole photo that agrees with the camera of the crop.

    Args:
        prediction: of one image.
        box: where the crop lay in the photo.
        photo_shape: height and width, pixels.
        focal_length: pixels; by default the diagonal of the photo.

    Returns:
        `focal_length`, `camera_center` (the middle of the photo) and `full_transl`: add the latter
        to head-centerd points (meters), then project with the former two.
    """
    height, width = photo_shape
    focal = jnp.float32(
        default_focal_length(height, width) if focal_length is None else focal_length
    )
    center = jnp.array([width / 2, height / 2], jnp.float32)
    scale, transl = cameras.crop_to_image(
        jnp.asarray(prediction.camera.scale),
        jnp.asarray(prediction.camera.transl),
        jnp.array([box.left, box.top, box.size], jnp.float32),
        CROP_SIZE,
    )
    full_transl = cameras.orthographic_to_perspective(scale, transl, focal, center)
    return {"focal_length": focal, "camera_center": center, "full_transl": full_transl}


def to_arrays(
    prediction: Prediction,
    box: CropBox,
    photo_shape: tuple[int, int],
    *,
    hand: str = "right",
    focal_length: float | None = None,
) -> dict[str, np.ndarray]:
    """Collects what the file holds, by name.

    | name | what |
    |---|---|
    | `hand_betas`, `hand_hand_pose`, `head_expression`, ... | parameters named as in smplx after `hand_` / `head_` |
    | `hand_vertices`, `head_vertices`, `deformations` | meters, head-centerd; deformed = `head_vertices - deformations` |
    | `*_contact_probs`, `contact_presence` | probabilities, per vertex and per image |
    | `*_keypoints_3d`, `*_keypoints_2d` | meters; pixels of the PHOTO |
    | `cam_scale`, `cam_transl` | scaled orthography in pixels of the 224 crop |
    | `crop_box`, `image_size` | left, top, side; height, width: pixels of the photo |
    | `focal_length`, `camera_center`, `full_transl` | pinhole camera of the photo, see `full_camera` |
    | `hand_side` | "right", or "left": parameters then pose the mirror image, whose x is negated in the vertices |
    """
    arrays = {f"hand_{name}": getattr(prediction.hand_params, name) for name in _HAND_PARAMS}
    arrays |= {f"head_{name}": getattr(prediction.head_params, name) for name in _HEAD_PARAMS}
    arrays |= {name: getattr(prediction, name) for name in _RESULTS}
    arrays |= {
        "hand_keypoints_2d": box.to_photo(prediction.hand_keypoints_2d),
        "head_keypoints_2d": box.to_photo(prediction.head_keypoints_2d),
        "cam_scale": prediction.camera.scale,
        "cam_transl": prediction.camera.transl,
        "crop_box": [box.left, box.top, box.size],
        **full_camera(prediction, box, photo_shape, focal_length),
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    return arrays | {"image_size": np.array(photo_shape, np.int32), "hand_side": np.array(hand)}


def write_params(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays, whole or not at all."""
    with atomic.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Reads what `write_params` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)
