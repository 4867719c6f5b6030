"""Keypoint errors in 3D and in the image (paper sec. 4.1), per sample."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.procrustes import align
from dice_jax.metrics.pve import distances


def mpjpe(prediction: Float[Array, "*B K 3"], target: Float[Array, "*B K 3"]) -> Float[Array, "*B"]:
    """MPJPE: mean distance over the 21 hand keypoints and 68 landmarks, head-centered, meters."""
    return jnp.mean(distances(prediction, target), axis=-1)


def pa_mpjpe(
    prediction: Float[Array, "*B K 3"], target: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """PA-MPJPE: MPJPE after Procrustes alignment, meters.

    ONE similarity (rotation, translation, scale) aligns the keypoints of hand and head together.
    """
    return mpjpe(align(prediction, target), target)


def keypoints_2d_error(
    prediction: Float[Array, "*B K 2"], detected: Float[Array, "*B K 3"]
) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """Distance in the image, weighted by confidence.

    Args:
        prediction: projected keypoints, pixels.
        detected: x and y in pixels, and a confidence; where that is 0, x and y are ignored.

    Returns:
        Sum of confidence times distance, and sum of the confidences. Sum both over a data set, then
        divide.
    """
    confidence = detected[..., 2]
    target = jnp.where(confidence[..., None] > 0, detected[..., :2], prediction)
    weighted = confidence * distances(prediction, target)
    return jnp.sum(weighted, axis=-1), jnp.sum(confidence, axis=-1)
