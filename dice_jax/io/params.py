"""Parameters, cameras and per-vertex results of a person: .npz for NumPy, and .json for anybody."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.constants import CROP_SIZE
from dice_jax.io import atomic
from dice_jax.person import Hand, Head, Person, PhotoCamera
from dice_jax.structs import Camera, HandParams, HeadParams
from dice_jax.untrusted_files import npz

_HAND_PARAMS = ("betas", "global_orient", "hand_pose", "transl")
_HEAD_PARAMS = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
_COMMON = ("vertices", "contact_probs", "keypoints_3d", "keypoints_2d", "keypoints_sigma")
_DOUBT = ("score", "residual")
# Ends of the names of what each vertex has. JSON files and results of videos go without.
PER_VERTEX = ("vertices", "contact_probs", "deformations")
_ROTATIONS = ("global_orient", "hand_pose", "neck_pose", "jaw_pose")
CONVENTIONS = {
    "units": "meters, radians, pixels; pixel centers lie at +0.5",
    "axes": "x right, y down, z away from the camera (OpenCV); in OpenGL and glTF, negate y and z",
    "frame": "the origin is the mean of the vertices of the undeformed head",
    "rotations": "of a joint relative to its parent, as axis-angle vectors and as matrices that "
    "multiply columns; global_orient turns about the root joint, and transl is added last",
    "hand_pose": "15 joints: index, middle, little, ring, thumb, each from the palm outwards; "
    "absolute, zero is the flat hand (smplx: flat_hand_mean=True, use_pca=False)",
    "left_hand": "its parameters pose the right hand that is its mirror image: negate the x of "
    "vertices and joints",
    "camera_photo": "x, y = focal_length * (point + transl)[:2] / (point + transl)[2] + center",
    "camera_crop": "the same pinhole in pixels of the crop, and the scaled orthography nearest to "
    "it: x, y = scale * point[:2] + transl_2d",
    "crop_box": "left, top and side of the crop in pixels of the photo",
}
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
        | `PART_global_orient_matrix`, `PART_hand_pose_matrix`, ... | the rotations as matrices |
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
        | `crop_focal_length`, `crop_camera_center` | the pinhole in pixels of the crop |
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
    zoom = CROP_SIZE / float(person.crop_box[2])
    center = (np.asarray(person.photo_camera.center) - np.asarray(person.crop_box)[:2]) * zoom
    arrays |= {
        "crop_focal_length": person.photo_camera.focal_length * zoom,
        "crop_camera_center": center,
    }
    result: dict[str, np.ndarray] = {
        name: np.asarray(value, np.float32) for name, value in arrays.items()
    }
    result["image_size"] = np.array(photo_shape, np.int32)
    if person.hands:
        result |= _CONVENTIONS
    if any(hand.side == "left" for hand in person.hands):
        result["mirrored_left_hand"] = np.array(True)
    return result


def _part(prefix, part, parameters):
    arrays = {f"{prefix}_{name}": getattr(part.params, name) for name in parameters}
    for name in set(_ROTATIONS) & set(parameters):
        arrays[f"{prefix}_{name}_matrix"] = _matrices(getattr(part.params, name))
    return arrays | {f"{prefix}_{name}": getattr(part, name) for name in (*_COMMON, *_DOUBT)}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Person:
    """The person whose arrays these are, as `to_arrays` gives them."""
    head = None
    if "head_vertices" in arrays:
        content = _content(arrays, "head", HeadParams, _HEAD_PARAMS)
        head = Head(deformations=arrays["deformations"], **content)
    hands = tuple(
        Hand(
            side=side,
            contact_presence=float(arrays[f"{side}_hand_contact_presence"]),
            **_content(arrays, f"{side}_hand", HandParams, _HAND_PARAMS),
        )
        for side in ("right", "left")
        if f"{side}_hand_vertices" in arrays
    )
    camera = PhotoCamera(
        float(arrays["focal_length"]), arrays["camera_center"], arrays["full_transl"]
    )
    crop_camera = Camera(arrays["cam_scale"], arrays["cam_transl"])
    hands = tuple(sorted(hands, key=lambda hand: -hand.score))
    return Person(head, hands, camera, arrays["crop_box"], crop_camera)


def _content(arrays, prefix, kind, parameters):
    params = kind(**{name: arrays[f"{prefix}_{name}"] for name in parameters})
    content = {name: arrays[f"{prefix}_{name}"] for name in _COMMON}
    doubt = {name: float(arrays[f"{prefix}_{name}"]) for name in _DOUBT}
    return {"params": params, **content, **doubt}


def _matrices(rotations) -> np.ndarray:
    """(3,) -> (3, 3), and (3 J,) -> (J, 3, 3)."""
    vectors = np.asarray(rotations, np.float64).reshape(-1, 3)
    matrices = Rotation.from_rotvec(vectors).as_matrix()
    return matrices[0] if len(matrices) == 1 else matrices


def to_document(
    arrays: Mapping[str, np.ndarray], extras: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of the JSON file: what `to_arrays` gives, without what each vertex has.

    Args:
        arrays: of `to_arrays`.
        extras: JSON values to store, such as the name of the photo.
    """
    plain = {name: _plain(value) for name, value in arrays.items() if not name.endswith(PER_VERTEX)}
    height, width = plain["image_size"]
    document: dict[str, Any] = {
        "format": "dice_jax parameters, version 1",
        "conventions": CONVENTIONS,
        **(extras or {}),
        "image_size": {"height": height, "width": width},
        "camera_photo": {
            "focal_length": plain["focal_length"],
            "center": plain["camera_center"],
            "transl": plain["full_transl"],
        },
        "camera_crop": {
            "size": CROP_SIZE,
            "box": plain["crop_box"],
            "focal_length": plain["crop_focal_length"],
            "center": plain["crop_camera_center"],
            "scale": plain["cam_scale"],
            "transl_2d": plain["cam_transl"],
        },
    }
    for part in ("head", "right_hand", "left_hand"):
        names = [name for name in plain if name.startswith(f"{part}_")]
        content = {name.removeprefix(f"{part}_"): plain[name] for name in names}
        for name in _ROTATIONS:
            if name in content:
                vectors = np.reshape(content[name], (-1, 3)).tolist()
                matrix = content.pop(f"{name}_matrix")
                single = np.ndim(matrix) == 2
                content[name] = {
                    "axis_angle": vectors[0] if single else vectors,
                    "matrix": matrix,
                }
        if content:
            document[part] = content
    return document


def _plain(value: np.ndarray) -> Any:
    """Lists of numbers, with the digits of single precision; None for NaN and infinity."""
    return value.tolist() if value.dtype.kind == "i" else _rounded(value.tolist())


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(row) for row in value]
    return float(f"{value:.7g}") if math.isfinite(value) else None


def write_document(path: str | Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON file in UTF-8; the file is complete or absent."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    atomic.write_text(path, text + "\n")


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
