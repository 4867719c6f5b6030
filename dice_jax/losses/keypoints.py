"""L_key and L_reproj: keypoints in space and in the image (paper sec. 3.3, app. C).

Each part has three predicted sets of keypoints: regressed by the tokens, taken from the rough mesh,
and taken from the parametric mesh. All of them and the ground truth share ONE order and one
definition of a fingertip.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.losses.vertices import l1


def keypoints_loss(
    regressed: Float[Array, "*B K 3"],
    from_rough_mesh: Float[Array, "*B K 3"],
    parametric: Float[Array, "*B K 3"],
    target: Float[Array, "*B K 3"],
    target_from_mesh: Float[Array, "*B K 3"],
    *,
    rough_weight: float = 4.0,
) -> Float[Array, "*B"]:
    """L_key of one part: 4 (|K' - K^|_1 + |K_mesh - K^_mesh|_1) + |K - K^|_1.

    Args:
        regressed, from_rough_mesh, parametric: the three predicted sets, head-centered, meters.
        target: ground-truth keypoints.
        target_from_mesh: keypoints taken from the ground-truth MESH as `from_rough_mesh` is from
            the rough one. A joint regressor fitted at rest is some millimeters off on a bent
            finger; with it on both sides, a perfect mesh has loss 0.
        rough_weight: the 4.
    """
    rough = l1(regressed, target) + l1(from_rough_mesh, target_from_mesh)
    return rough_weight * rough + l1(parametric, target)


def reprojection_loss(
    projected: Float[Array, "*B K 2"], detected: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """L_reproj of one set of keypoints: L1 distance in the image, weighted by confidence.

    Args:
        projected: predicted keypoints, pixels of the crop.
        detected: x and y in pixels of the crop, then the detector's confidence in [0, 1]. Where it
            is 0, x and y may be anything, even NaN: that keypoint does not count.

    Returns:
        Weighted mean over the keypoints, in sides of the crop (pixels / 224); 0 if nothing was
        detected.
    """
    confidence, pixels = _split_confidence(detected)
    error = jnp.mean(jnp.abs(projected - pixels), axis=-1) / CROP_SIZE
    return _weighted_mean(error, confidence)


def heatmap_loss(
    heatmaps: Float[Array, "*B H W K"], detected: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """Cross-entropy between each keypoint's heatmap and its detected position (not in the paper).

    The target distribution spreads a keypoint over the four cells around it, as bilinear
    interpolation does. So the expected position under the optimal heatmap is the keypoint itself. A
    keypoint outside the crop is moved to the outermost cells.

    Args:
        heatmaps: logits over the cells of a grid that covers the crop.
        detected: as in `reprojection_loss`.

    Returns:
        Weighted mean over the keypoints, nats; 0 if nothing was detected.
    """
    confidence, pixels = _split_confidence(detected)
    height, width = heatmaps.shape[-3:-1]
    columns = _bilinear_weights(pixels[..., 0] / CROP_SIZE, width)
    rows = _bilinear_weights(pixels[..., 1] / CROP_SIZE, height)
    log_probs = heatmaps - jax.nn.logsumexp(heatmaps, axis=(-3, -2), keepdims=True)
    entropy = -jnp.einsum("...kh,...kw,...hwk->...k", rows, columns, log_probs)
    return _weighted_mean(entropy, confidence)


def _split_confidence(
    detected: Float[Array, "*B K 3"],
) -> tuple[Float[Array, "*B K"], Float[Array, "*B K 2"]]:
    """Confidence, and pixels with 0 in place of those that were not detected.

    Replaced before any arithmetic, so that a NaN there reaches neither the value nor the gradient.
    """
    confidence = detected[..., 2]
    return confidence, jnp.where(confidence[..., None] > 0, detected[..., :2], 0.0)


def _weighted_mean(
    values: Float[Array, "*B K"], confidence: Float[Array, "*B K"]
) -> Float[Array, "*B"]:
    # max(., 1): a single detection of low confidence must not count like a whole hand.
    total = jnp.maximum(jnp.sum(confidence, axis=-1), 1.0)
    return jnp.sum(confidence * values, axis=-1) / total


def _bilinear_weights(x: Float[Array, "*B K"], count: int) -> Float[Array, "*B K {count}"]:
    """Weights of `count` cells that divide [0, 1], interpolated linearly between their centers."""
    x = jnp.clip(x * count - 0.5, 0.0, count - 1.0)
    return jax.nn.relu(1.0 - jnp.abs(jnp.subtract.outer(x, jnp.arange(count, dtype=x.dtype))))
