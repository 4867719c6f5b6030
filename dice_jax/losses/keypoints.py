"""L_key and L_reproj: keypoints in space and in the image (paper sec. 3.3, app. C).

There are three sets of keypoints for each part: regressed by the tokens, taken from the rough mesh,
and taken from the parametric mesh. All are in ONE order with one definition of a fingertip, the
ground truth's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.losses.vertices import l1

CROP_PIXELS = 224.0


def keypoints_loss(
    regressed: Float[Array, "*B K 3"],
    from_rough_mesh: Float[Array, "*B K 3"],
    parametric: Float[Array, "*B K 3"],
    target: Float[Array, "*B K 3"],
    target_from_mesh: Float[Array, "*B K 3"],
    *,
    rough_weight: float = 4.0,
) -> Float[Array, "*B"]:
    """One part's share of L_key: 4 (|K' - K^|_1 + |K_mesh - K^_mesh|_1) + |K - K^|_1, head-centerd
    meters.

    Args:
        regressed, from_rough_mesh, parametric: the three predicted sets.
        target: ground-truth keypoints.
        target_from_mesh: what the ground-truth MESH gives when treated like the rough mesh. A
            regressor of joints fitted at rest is some millimeters off on a bent finger; with it on
            both sides a perfect mesh costs nothing.
        rough_weight: the 4.
    """
    return rough_weight * (l1(regressed, target) + l1(from_rough_mesh, target_from_mesh)) + l1(
        parametric, target
    )


def reprojection_loss(
    projected: Float[Array, "*B K 2"], detected: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """L_reproj of one set of keypoints: L1 distance in the image, weighted by the detector's
    confidence.

    Args:
        projected: projected keypoints, pixels of the 224 crop.
        detected: x and y in pixels of the crop, then a confidence in [0, 1]. Where it is 0, x and y
            may be anything, even NaN: an undetected keypoint neither supervises nor counts.

    Returns:
        Weighted mean over the keypoints, in units of the crop (pixels / 224); 0 if nothing was
        detected.
    """
    confidence = detected[..., 2]
    # The placeholder is replaced before the subtraction, so that neither value nor gradient can see
    # it.
    target = jnp.where(confidence[..., None] > 0, detected[..., :2], 0.0)
    error = jnp.mean(jnp.abs(projected - target), axis=-1) / CROP_PIXELS
    # max(., 1): one faint detection must not stand for the whole hand.
    return jnp.sum(confidence * error, axis=-1) / jnp.maximum(jnp.sum(confidence, axis=-1), 1.0)


def heatmap_loss(
    heatmaps: Float[Array, "*B H W K"], detected: Float[Array, "*B K 3"]
) -> Float[Array, "*B"]:
    """Cross-entropy of where each keypoint is; not of the paper, for networks that look for
    keypoints in the image.

    A keypoint is spread over the four cells around it as in bilinear interpolation, so that the
    mean place under a map that pays the least is the keypoint itself; outside the crop it belongs
    to the outermost cells.

    Args:
        heatmaps: logits.
        detected: as in `reprojection_loss`.

    Returns:
        Weighted mean over the keypoints, nats; 0 if nothing was detected.
    """
    confidence = detected[..., 2]
    pixels = jnp.where(confidence[..., None] > 0, detected[..., :2], 0.0)
    height, width = heatmaps.shape[-3:-1]
    columns, rows = (
        _spread(pixels[..., i] / CROP_PIXELS, count) for i, count in enumerate((width, height))
    )
    log_shares = heatmaps - jax.nn.logsumexp(heatmaps, axis=(-3, -2), keepdims=True)
    entropy = -jnp.einsum("...kh,...kw,...hwk->...k", rows, columns, log_shares)
    return jnp.sum(confidence * entropy, axis=-1) / jnp.maximum(jnp.sum(confidence, axis=-1), 1.0)


def _spread(x: Float[Array, "*B K"], count: int) -> Float[Array, "*B K {count}"]:
    """Shares of `count` cells of [0, 1] in a point."""
    x = jnp.clip(x * count - 0.5, 0.0, count - 1.0)
    return jax.nn.relu(1.0 - jnp.abs(x[..., None] - jnp.arange(count)))
