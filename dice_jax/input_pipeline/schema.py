"""The fields of one sample, on disk and in memory, the same for all data sets.

Units: meters, radians, pixels of the crop. Parameters and deformations are in camera axes (see
`structs`). A data set that lacks a label leaves out its field. Deformations are zero almost
everywhere, so they are stored as the ids and values of the deformed vertices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt, UInt8

from dice_jax.constants import (
    NUM_FACE_POINTS,
    NUM_HAND_KEYPOINTS,
    NUM_HAND_VERTICES,
    NUM_HEAD_KEYPOINTS,
    NUM_HEAD_VERTICES,
)

JPEG_QUALITY = 95
MIN_DEFORMATION = 2e-5  # meters; smaller deformations are stored as none

Example = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a sample.

    Attributes:
        shape: None for a size that varies.
        dtype: NumPy dtype, or "jpeg", "png" or "text" for encoded bytes.
        meaning: in words.
    """

    shape: tuple[int | None, ...]
    dtype: str
    meaning: str


def _floats(meaning: str, *shape: int) -> Field:
    return Field(shape, "float32", meaning)


FEATURES: dict[str, Field] = {
    "image": Field((), "jpeg", "RGB crop"),
    "hand_keypoints_2d": _floats(
        "x, y in pixels and confidence, OpenPose order", NUM_HAND_KEYPOINTS, 3
    ),
    "head_keypoints_2d": _floats(
        "x, y in pixels and confidence, iBUG order", NUM_HEAD_KEYPOINTS, 3
    ),
    "hand_keypoints_depth": _floats(
        "depth of the visible surface at each keypoint, any scale per image", NUM_HAND_KEYPOINTS
    ),
    "head_keypoints_depth": _floats(
        "depth of the visible surface at each landmark, any scale per image", NUM_HEAD_KEYPOINTS
    ),
    "hand_betas": _floats("shape of the hand", 10),
    "hand_global_orient": _floats("axis-angle about the wrist joint", 3),
    "hand_pose": _floats("15 axis-angle joint rotations, MANO order", 45),
    "hand_transl": _floats("meters", 3),
    "head_betas": _floats("shape of the head", 100),
    "head_expression": _floats("expression components", 50),
    "head_global_orient": _floats("axis-angle about the root joint", 3),
    "head_neck_pose": _floats("axis-angle", 3),
    "head_jaw_pose": _floats("axis-angle", 3),
    "head_transl": _floats("meters", 3),
    "deformation_ids": Field((None,), "uint16", "head vertices that are deformed"),
    "deformation_values": Field(
        (None, 3), "float16", "their deformations: undeformed minus deformed, millimeters"
    ),
    "hand_contact": Field((NUM_HAND_VERTICES,), "uint8", "1 where the hand touches the skin"),
    "head_contact": Field((NUM_HEAD_VERTICES,), "uint8", "1 where the skin touches the hand"),
    "subject": Field((), "int64", "the person, unique over all splits of a data set"),
    "scene": Field((), "int64", "the moment: views of one moment share it"),
    "gesture": Field((), "text", "name of the gesture"),
    "skin_tone": _floats("0: the lightest, 1: the darkest"),
}

# Further fields of some data sets.
EXTRAS: dict[str, Field] = {
    "foreground": Field((), "png", "mask of the person, of the size of the image"),
    "hand_box": _floats(
        "detected: left, top, right, bottom in pixels of the crop; zeros: not detected", 4
    ),
    "head_box": _floats("the same for the head", 4),
    "view": Field((), "int64", "the camera"),
    "frame": Field((), "int64", "frame number in the video"),
    "sequence": Field((), "int64", "frames of a take without a cut between them share it"),
    "source": Field((), "text", "file that the sample was made from"),
    "kind": Field((), "text", "kind of scene, see `synthetic.kinds`"),
    "hand_present": _floats(
        "1 where a hand can be seen: the labeled one, then the person's other hand", 2
    ),
    "hand_visibility": _floats(
        "visible fraction of the side of that hand that faces the camera", 2
    ),
    "head_visibility": _floats("visible fraction of the face, both halves of it"),
    "other_hand_keypoints_2d": _floats(
        "keypoints of the other hand, as `hand_keypoints_2d`; zeros: there is none",
        NUM_HAND_KEYPOINTS,
        3,
    ),
    "detected_hand_points": _floats(
        "found by the landmark networks, see `structs.Detections`; zeros: no right hand found",
        NUM_HAND_KEYPOINTS,
        4,
    ),
    "detected_hand_world": _floats("the same in meters, camera axes", NUM_HAND_KEYPOINTS, 3),
    "detected_face_points": _floats(
        "the face mesh likewise; zeros: no face found", NUM_FACE_POINTS, 4
    ),
    "attempts": Field((), "int64", "hands that were tried until the scene was plausible"),
    "focal_length": _floats("of the crop, pixels"),
    "camera_center": _floats("principal point, pixels of the crop", 2),
}


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of a decoded label; "deformations" is dense there."""
    if name == "deformations":
        return (NUM_HEAD_VERTICES, 3)
    field = FEATURES.get(name) or EXTRAS[name]
    return tuple(size for size in field.shape if size is not None)


def encode(example: Mapping[str, Any]) -> Example:
    """Converts a decoded sample to its stored form.

    Args:
        example: as `decode` returns it; fields may be missing.

    Raises:
        ValueError: a field that the schema does not have, or an array of the wrong shape.
    """
    encoded = dict(example)
    if "deformations" in encoded:
        ids, values = _sparse(np.asarray(encoded.pop("deformations"), np.float32))
        encoded |= {"deformation_ids": ids, "deformation_values": values}
    unknown = sorted(set(encoded) - set(FEATURES) - set(EXTRAS))
    if unknown:
        raise ValueError(
            f"unknown fields of a sample: {', '.join(unknown)}; "
            "see FEATURES and EXTRAS in input_pipeline.schema"
        )
    return {name: _encode_field(name, value) for name, value in encoded.items()}


def decode(example: Mapping[str, Any]) -> Example:
    """Converts a stored sample to arrays.

    Returns:
        `image` (H, W, 3) uint8 RGB, `deformations` (5023, 3) in meters, `foreground` (H, W) bool,
        and the other fields unchanged.

    Raises:
        ValueError: the image cannot be decoded.
    """
    decoded = dict(example)
    if isinstance(decoded.get("image"), bytes):
        decoded["image"] = decode_image(decoded["image"])
    if "deformation_ids" in decoded:
        dense = np.zeros((NUM_HEAD_VERTICES, 3), np.float32)
        millimeters = np.asarray(decoded.pop("deformation_values"), np.float32)
        dense[decoded.pop("deformation_ids")] = millimeters / 1000
        decoded["deformations"] = dense
    if isinstance(decoded.get("foreground"), bytes):
        decoded["foreground"] = _decode_mask(decoded["foreground"])
    for name in ("gesture", "source", "kind"):
        if isinstance(decoded.get(name), bytes):
            decoded[name] = decoded[name].decode()
    return decoded


def encode_image(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Encodes an RGB image as JPEG.

    Raises:
        ValueError: the image cannot be encoded.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return data.tobytes()


def decode_image(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes JPEG or PNG bytes to an RGB image.

    Raises:
        ValueError: the bytes cannot be decoded.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError(
            "a sample's image cannot be decoded: the data set is damaged, delete and rebuild it"
        )
    return pixels


def _encode_mask(mask: Bool[np.ndarray, "H W"]) -> bytes:
    return cv2.imencode(".png", mask * np.uint8(255))[1].tobytes()


def _decode_mask(data: bytes) -> Bool[np.ndarray, "H W"]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(
            "a sample's foreground cannot be decoded: the data set is damaged, delete and rebuild "
            "it"
        )
    return pixels > 127


def _encode_field(name: str, value: Any) -> Any:
    field = FEATURES.get(name) or EXTRAS[name]
    if field.dtype == "jpeg":
        return value if isinstance(value, bytes) else encode_image(np.asarray(value))
    if field.dtype == "png":
        return value if isinstance(value, bytes) else _encode_mask(np.asarray(value, bool))
    if field.dtype == "text":
        return str(value)
    array = np.asarray(value, field.dtype)
    fits = len(array.shape) == len(field.shape) and all(
        expected in (None, size) for size, expected in zip(array.shape, field.shape)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, a sample needs {field.shape}")
    return array


def _sparse(
    deformations: Float[np.ndarray, "5023 3"],
) -> tuple[UInt[np.ndarray, "K"], Float[np.ndarray, "K 3"]]:
    """Ids and deformations of the deformed vertices, in millimeters.

    Millimeters use float16 well: its relative error is below 1e-3.
    """
    ids = np.flatnonzero(np.linalg.norm(deformations, axis=-1) > MIN_DEFORMATION)
    return ids.astype(np.uint16), (1000 * deformations[ids]).astype(np.float16)
