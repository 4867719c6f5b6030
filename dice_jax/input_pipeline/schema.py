"""What one sample holds, on disk and in memory, whichever data set it comes from.

Meters, radians, pixels of the 224 x 224 crop; parameters and deformations in camera axes (see
`structs`). A data set that lacks a label leaves its key out. Deformations are zero almost
everywhere, so they are stored as the ids and values of the vertices that move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

IMAGE_SIZE = 224
NUM_HAND_VERTICES, NUM_HEAD_VERTICES = 778, 5023
JPEG_QUALITY = 95
MIN_DEFORMATION = 2e-5  # meters; less is stored as no deformation

Example = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry of a sample: shape, NumPy dtype name ("jpeg", "png" and "text" for encoded bytes),
    and its meaning.
    """

    shape: tuple[int | None, ...]
    dtype: str
    meaning: str


FEATURES: dict[str, Field] = {
    "image": Field((), "jpeg", "RGB crop"),
    "hand_keypoints_2d": Field((21, 3), "float32", "x, y in pixels and confidence, OpenPose order"),
    "head_keypoints_2d": Field((68, 3), "float32", "x, y in pixels and confidence, iBUG order"),
    "hand_keypoints_depth": Field(
        (21,), "float32", "depth of what is seen at each keypoint, any scale per image"
    ),
    "head_keypoints_depth": Field(
        (68,), "float32", "depth of what is seen at each landmark, any scale per image"
    ),
    "hand_betas": Field((10,), "float32", "shape of the hand"),
    "hand_global_orient": Field((3,), "float32", "axis-angle about the wrist joint"),
    "hand_pose": Field((45,), "float32", "15 axis-angle joint rotations, MANO's order"),
    "hand_transl": Field((3,), "float32", "meters"),
    "head_betas": Field((100,), "float32", "shape of the head"),
    "head_expression": Field((50,), "float32", "expression components"),
    "head_global_orient": Field((3,), "float32", "axis-angle about the root joint"),
    "head_neck_pose": Field((3,), "float32", "axis-angle"),
    "head_jaw_pose": Field((3,), "float32", "axis-angle"),
    "head_transl": Field((3,), "float32", "meters"),
    "deformation_ids": Field((None,), "uint16", "head vertices that move"),
    "deformation_values": Field(
        (None, 3), "float16", "their deformations: undeformed minus deformed, millimeters"
    ),
    "hand_contact": Field((NUM_HAND_VERTICES,), "uint8", "1 where the hand touches the skin"),
    "head_contact": Field((NUM_HEAD_VERTICES,), "uint8", "1 where the skin touches the hand"),
    "subject": Field((), "int64", "who: unique over all splits of a data set"),
    "scene": Field((), "int64", "which moment: views of one moment share it"),
    "gesture": Field((), "text", "name of the gesture"),
    "skin_tone": Field((), "float32", "0 the lightest, 1 the darkest"),
}

# What only some data sets carry, besides.
EXTRAS: dict[str, Field] = {
    "foreground": Field((), "png", "person against background, as the image lies"),
    "hand_box": Field(
        (4,),
        "float32",
        "detected: left, top, right, bottom in pixels of the crop; zeros: not found",
    ),
    "head_box": Field((4,), "float32", "the same of the head"),
    "view": Field((), "int64", "which camera"),
    "frame": Field((), "int64", "number in the video"),
    "sequence": Field((), "int64", "frames of one take without a cut share it"),
    "source": Field((), "text", "file that the sample was made from"),
}


def encode(example: Mapping[str, Any]) -> Example:
    """Turns a decoded sample into what is stored.

    Args:
        example: as `decode` returns it; keys may be missing, others than the schema's are an error.

    Raises:
        ValueError: a key that the schema does not know, or an array of the wrong shape.
    """
    encoded = dict(example)
    if "deformations" in encoded:
        ids, values = _sparse(np.asarray(encoded.pop("deformations"), np.float32))
        encoded |= {"deformation_ids": ids, "deformation_values": values}
    unknown = sorted(set(encoded) - set(FEATURES) - set(EXTRAS))
    if unknown:
        raise ValueError(
            f"no such entry in a sample: {', '.join(unknown)}; data.schema.FEATURES and EXTRAS list them"
        )
    for name, value in encoded.items():
        encoded[name] = _encode_field(name, value)
    return encoded


def decode(example: Mapping[str, Any]) -> Example:
    """Turns a stored sample into arrays: `image` (H, W, 3) uint8 RGB, `deformations` (5023, 3)
    meters, `foreground` (H, W) bool, the rest as is.

    Raises:
        ValueError: the image cannot be decoded.
    """
    decoded = dict(example)
    if isinstance(decoded.get("image"), bytes):
        decoded["image"] = decode_image(decoded["image"])
    if "deformation_ids" in decoded:
        dense = np.zeros((NUM_HEAD_VERTICES, 3), np.float32)
        dense[decoded.pop("deformation_ids")] = (
            np.asarray(decoded.pop("deformation_values"), np.float32) / 1000
        )
        decoded["deformations"] = dense
    if isinstance(decoded.get("foreground"), bytes):
        decoded["foreground"] = _decode_mask(decoded["foreground"])
    for name in ("gesture", "source"):
        if isinstance(decoded.get(name), bytes):
            decoded[name] = decoded[name].decode()
    return decoded


def encode_image(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """JPEG bytes of an RGB image."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return data.tobytes()


def decode_image(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """The RGB image of JPEG (or PNG) bytes; a ValueError if they are none."""
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
            "a sample's foreground cannot be decoded: the data set is damaged, delete and rebuild it"
        )
    return pixels > 127


def _encode_field(name, value):
    field = FEATURES.get(name) or EXTRAS[name]
    if field.dtype == "jpeg":
        return value if isinstance(value, bytes) else encode_image(np.asarray(value))
    if field.dtype == "png":
        return value if isinstance(value, bytes) else _encode_mask(np.asarray(value, bool))
    if field.dtype == "text":
        return str(value)
    array = np.asarray(value, field.dtype)
    fits = len(array.shape) == len(field.shape) and all(
        w in (None, h) for h, w in zip(array.shape, field.shape)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, a sample needs {field.shape}")
    return array


def _sparse(
    deformations: Float[np.ndarray, "5023 3"],
) -> tuple[Int[np.ndarray, "K"], Float[np.ndarray, "K 3"]]:
    """Moved vertices and their deformations in millimeters: float16 keeps them to a thousandth
    there.
    """
    ids = np.flatnonzero(np.linalg.norm(deformations, axis=-1) > MIN_DEFORMATION)
    return ids.astype(np.uint16), (1000 * deformations[ids]).astype(np.float16)
