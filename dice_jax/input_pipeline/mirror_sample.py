"""Mirrors a sample: a right hand becomes a left one, and every label changes with it.

Useful for a network of left hands, and for photos of left hands in a set of right ones. The
hand parameters then belong to the mirrored hand model, whose betas have the same meaning. The
mirror image of a head is another head, so its shape coefficients are mapped to those of that head.
The map is exact where the model is symmetric, as the open model is, and a least-squares fit
otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dice_jax.body_models.landmarks import MIRRORED_FACE_POINTS, MIRRORED_LANDMARKS
from dice_jax.constants import CROP_SIZE

_POINTS = np.array([-1.0, 1.0, 1.0])
_VECTORS = np.array([1.0, -1.0, -1.0])  # of axis-angle: a mirror reverses the sense of rotation


@dataclasses.dataclass(frozen=True)
class HeadMirror:
    """The map from the heads of a model to their mirror images.

    Attributes:
        vertex_ids: the mirrored vertex of each vertex.
        betas, expression: `coefficients @ map` are those of the mirrored head.
        root: rest position of the root joint as a function of betas and expression.
    """

    vertex_ids: Int[np.ndarray, "5023"]
    betas: Float[np.ndarray, "100 100"]
    expression: Float[np.ndarray, "50 50"]
    root: Callable[[Float[np.ndarray, "150"]], Float[np.ndarray, "3"]]


def mirrored(sample: Mapping[str, Any], head: HeadMirror | None) -> dict[str, Any]:
    """Mirrors a decoded sample about the vertical axis of its image.

    Args:
        sample: as `schema.decode` returns it; missing labels stay missing.
        head: may be None for a sample without head parameters, deformations and contacts.
    """
    changes = {
        "image": lambda image: np.ascontiguousarray(image[:, ::-1]),
        "foreground": lambda mask: np.ascontiguousarray(mask[:, ::-1]),
        "hand_keypoints_2d": _keypoints,
        "other_hand_keypoints_2d": _keypoints,
        "camera_center": lambda center: np.array([CROP_SIZE - center[0], center[1]]),
        "head_keypoints_2d": lambda keypoints: _keypoints(keypoints[MIRRORED_LANDMARKS]),
        "head_keypoints_depth": lambda depth: depth[MIRRORED_LANDMARKS],
        "hand_box": _box,
        "head_box": _box,
        "detected_hand_points": _keypoints,
        "detected_hand_world": lambda points: points * _POINTS,
        "detected_face_points": lambda points: _keypoints(points[MIRRORED_FACE_POINTS]),
        "hand_global_orient": lambda vector: vector * _VECTORS,
        "hand_pose": lambda pose: (pose.reshape(15, 3) * _VECTORS).ravel(),
        "hand_transl": lambda transl: transl * _POINTS,
        "head_global_orient": lambda vector: vector * _VECTORS,
        "head_neck_pose": lambda vector: vector * _VECTORS,
        "head_jaw_pose": lambda vector: vector * _VECTORS,
    }
    if head is not None:
        changes |= {
            "head_betas": lambda betas: betas @ head.betas,
            "head_expression": lambda expression: expression @ head.expression,
            "deformations": lambda deformations: deformations[head.vertex_ids] * _POINTS,
            "head_contact": lambda contact: contact[head.vertex_ids],
        }
    flipped = dict(sample)
    for name, change in changes.items():
        if name in sample:
            flipped[name] = np.asarray(change(sample[name]), sample[name].dtype)
    if head is not None and "head_transl" in sample:
        root = lambda s: head.root(np.concatenate([s["head_betas"], s["head_expression"]]))
        posed_root = (root(sample) + sample["head_transl"]) * _POINTS
        flipped["head_transl"] = (posed_root - root(flipped)).astype(np.float32)
    return flipped


def _keypoints(keypoints: Float[np.ndarray, "K C"]) -> Float[np.ndarray, "K C"]:
    """Mirrors keypoints in the crop; those of confidence 0, the last column, stay in place."""
    x = np.where(keypoints[:, -1] > 0, CROP_SIZE - keypoints[:, 0], keypoints[:, 0])
    return np.column_stack([x, keypoints[:, 1:]])


def _box(box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    left, top, right, bottom = box
    return np.array([CROP_SIZE - right, top, CROP_SIZE - left, bottom]) if right > left else box
