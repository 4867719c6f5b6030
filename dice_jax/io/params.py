"""Parameters, cameras and per-vertex results of a person, as an .npz readable with NumPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dice_jax.io import atomic
from dice_jax.person import Person
from dice_jax.untrusted_files import npz

_HAND_PARAMS = ("betas", "global_orient", "hand_pose", "transl")
_HEAD_PARAMS = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
_COMMON = ("vertices", "contact_probs", "keypoints_3d", "keypoints_2d", "keypoints_sigma")
_DOUBT = ("score", "residual")
# The options of smplx for the hands' poses.
_CONVENTIONS = {"flat_hand_mean": np.array(True), "use_pca": np.array(False)}


def to_arrays(person: Person, photo_shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The arrays of the parameter file, by name.

    Args:
        person: of `reconstruct`.
        photo_shape: height and width, pixels.

    Returns:
        Where `PART` is `head`, `right_hand` or `left_hand`; a part that was not found has none.

        | name | content |
        |---|---|
        | `PART_betas`, `PART_global_orient`, ... | parameters, named as in smplx |
        | `PART_vertices` | meters, head-centered, undeformed |
        | `PART_contact_probs` | probability that each vertex touches |
        | `PART_keypoints_3d`, `PART_keypoints_2d` | meters; pixels of the PHOTO |
        | `PART_keypoints_sigma` | standard deviation of the latter, pixels of the photo |
        | `PART_score` | probability that the part is there |
        | `PART_residual` | distance from the detected landmarks, pixels of the photo |
        | `deformations` | of the head, meters; deformed = `head_vertices - deformations` |
        | `right_hand_contact_presence`, `left_...` | probability that the hand touches at all |
        | `focal_length`, `camera_center`, `full_transl` | the pinhole of the photo |
        | `cam_scale`, `cam_transl` | the nearest scaled orthography, pixels of the crop |
        | `crop_box` | left, top, side; pixels of the photo |
        | `image_size` | height, width; pixels of the photo |
        | `flat_hand_mean`, `use_pca` | True, False: the options of smplx for these hand poses |
        | `mirrored_left_hand` | True: a left hand's parameters pose its mirror image |

        To project points, add `full_transl`, then use the pinhole. The parameters of a left hand
        pose its mirror image: negate the x of what they give to get the vertices.
    """
    arrays = {}
    if person.head is not None:
        arrays |= _part("head", person.head, _HEAD_PARAMS)
        arrays["deformations"] = person.head.deformations
    for hand in person.hands:
        arrays |= _part(f"{hand.side}_hand", hand, _HAND_PARAMS)
        arrays[f"{hand.side}_hand_contact_presence"] = hand.contact_presence
    arrays |= {
        "focal_length": person.photo_camera.focal_length,
        "camera_center": person.photo_camera.center,
        "full_transl": person.photo_camera.transl,
        "cam_scale": person.crop_camera.scale,
        "cam_transl": person.crop_camera.transl,
        "crop_box": person.crop_box,
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    arrays["image_size"] = np.array(photo_shape, np.int32)
    if person.hands:
        arrays |= _CONVENTIONS
    if any(hand.side == "left" for hand in person.hands):
        arrays["mirrored_left_hand"] = np.array(True)
    return arrays


def _part(prefix, part, parameters):
    arrays = {f"{prefix}_{name}": getattr(part.params, name) for name in parameters}
    return arrays | {f"{prefix}_{name}": getattr(part, name) for name in (*_COMMON, *_DOUBT)}


def write_params(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays; the file is complete or absent."""
    with atomic.atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a file written by `write_params`.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, or holds other things than arrays of numbers.
    """
    others = npz.Array(npz.NUMBERS + npz.TEXT, finite=False)
    return npz.read_npz(path, others=others, what="a file of parameters")
