"""The mirror image of a sample: a right hand becomes a left one, and every label with it.

For a network of left hands, or to make right hands of the left ones in a set of photographs. The
hand's parameters then belong to the mirrored hand model, whose betas mean the same. A head is the
mirror image of another head, so its shape coefficients are mapped to those of that one: exactly
where the model is symmetric, as the open one is, and by least squares elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int

from dice_jax.body_models.landmarks import MIRRORED_LANDMARKS
from dice_jax.input_pipeline.schema import IMAGE_SIZE

_POINTS = np.array([-1.0, 1.0, 1.0])
_VECTORS = np.array([1.0, -1.0, -1.0])  # of axis-angle: a mirror turns the sense of rotation round


@dataclasses.dataclass(frozen=True)
class HeadMirror:
    """How a head model maps to its mirror image.

    Attributes:
        vertex_ids: the vertex on the other side of each one.
        betas, expression: `coefficients @ map` are those of the mirrored head.
        root: rest position of the root joint as a function of both.
    """

    vertex_ids: Int[np.ndarray, "5023"]
    betas: Float[np.ndarray, "100 100"]
    expression: Float[np.ndarray, "50 50"]
    root: Callable[[Float[np.ndarray, "150"]], Float[np.ndarray, "3"]]


def mirrored(sample: Mapping[str, np.ndarray], head: HeadMirror) -> dict[str, np.ndarray]:
    """The mirror image of a decoded sample, about the vertical axis of its image; labels that it
    lacks stay absent.
    """
    flipped = dict(sample)
    changes = {
        "image": lambda image: np.ascontiguousarray(image[:, ::-1]),
        "foreground": lambda mask: np.ascontiguousarray(mask[:, ::-1]),
        "hand_keypoints_2d": _keypoints,
        "head_keypoints_2d": lambda keypoints: _keypoints(keypoints[MIRRORED_LANDMARKS]),
        "head_keypoints_depth": lambda depth: depth[MIRRORED_LANDMARKS],
        "hand_box": _box,
        "head_box": _box,
        "hand_global_orient": lambda vector: vector * _VECTORS,
        "hand_pose": lambda pose: (pose.reshape(15, 3) * _VECTORS).ravel(),
        "hand_transl": lambda transl: transl * _POINTS,
        "head_betas": lambda betas: betas @ head.betas,
        "head_expression": lambda expression: expression @ head.expression,
        "head_global_orient": lambda vector: vector * _VECTORS,
        "head_neck_pose": lambda vector: vector * _VECTORS,
        "head_jaw_pose": lambda vector: vector * _VECTORS,
        "deformations": lambda deformations: deformations[head.vertex_ids] * _POINTS,
        "head_contact": lambda contact: contact[head.vertex_ids],
    }
    for name, change in changes.items():
        if name in sample:
            flipped[name] = np.asarray(change(sample[name]), sample[name].dtype)
    if "head_transl" in sample:
        coefficients = lambda one: np.concatenate([one["head_betas"], one["head_expression"]])
        place = (head.root(coefficients(sample)) + sample["head_transl"]) * _POINTS
        flipped["head_transl"] = (place - head.root(coefficients(flipped))).astype(np.float32)
    return flipped


def _keypoints(keypoints: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "K 3"]:
    """What was not detected lies at the origin with confidence 0, and stays there."""
    x = np.where(keypoints[:, 2] > 0, IMAGE_SIZE - keypoints[:, 0], keypoints[:, 0])
    return np.column_stack([x, keypoints[:, 1:]])


def _box(box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    left, top, right, bottom = box
    return np.array([IMAGE_SIZE - right, top, IMAGE_SIZE - left, bottom]) if right > left else box
