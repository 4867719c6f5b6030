"""Keypoint errors in space and in the image (paper sec. 4.1), per sample."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.procrustes import align
from dice_jax.metrics.pve import distances


def mpjpe(prediction: Float[Array, "*B K 3"], target: Float[Array, "*B K 3"]) -> Float[Array, "*B"]:
    """MPJPE: mean distance over the 21 hand keypoints and 68 landmarks, head-centerd, meters."""
    return jnp.mean(distances(prediction, target), axis=-1)


def pa_mpjpe(
    prediction: Float[Array, "*B K 3"], target: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """PA-MPJPE: MPJPE after ONE similarity (rotation, translation, scale) that fits all keypoints
    of both parts.
    """
    return mpjpe(align(prediction, target), target)


def keypoints_2d_error(
    prediction: Float[Array, "*B K 2"], detected: Float[Array, "*B K 3"]
) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """Distance in the image, pixels.

    Args:
        prediction: projected keypoints.
        detected: x, y and a confidence; where that is 0, x and y may be anything.

    Returns:
        sum of confidence x distance, and sum of confidence: to be summed over a data set, then
        divided.
    """
    confidence = detected[..., 2]
    target = jnp.where(confidence[..., None] > 0, detected[..., :2], prediction)
    return jnp.sum(confidence * distances(prediction, target), axis=-1), jnp.sum(
        confidence, axis=-1
    )
