"""Means over the samples that have a label, exact across devices; absent labels made harmless."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.structs import Batch, Targets


def masked_mean(
    values: Float[Array, "B"],
    mask: Float[Array, "B"],
    axis_name: str | None = None,
    count: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Mean of `values` weighted by `mask`; 0 where no sample has a positive mask.

    Numerator and denominator are summed over the devices BEFORE the division. A mean of the
    devices' means would weight a sample by the number of labeled samples on its device.

    Args:
        values: one number per sample.
        mask: weight of each sample, usually 0 or 1.
        axis_name: mapped axis (`pmap`, `shard_map`) to sum over. Omit it under `jit` with sharded
            arrays, where the batch is already whole. The result is the same on every device; under
            `pmap` the matching gradient is `lax.pmean` of the devices' gradients.
        count: the divisor, where these samples are one of several micro-batches: `mask_sum` of all
            of them, so that the results of the micro-batches ADD UP to the mean. By default the sum
            of `mask`.
    """
    numerator = jnp.sum(jnp.where(mask > 0, values * mask, 0.0))
    if axis_name is not None:
        numerator = jax.lax.psum(numerator, axis_name)
    denominator = mask_sum(mask, axis_name) if count is None else count
    return numerator / jnp.where(denominator > 0, denominator, 1.0)


def mask_sum(mask: Float[Array, "B"], axis_name: str | None = None) -> Float[Array, ""]:
    """Number of samples that a mask selects, over all devices of `axis_name`."""
    total = jnp.sum(mask)
    return total if axis_name is None else jax.lax.psum(total, axis_name)


def blank_unlabeled(batch: Batch, targets: Targets) -> tuple[Batch, Targets]:
    """Zeroes every label that its `has_*` mask marks as absent.

    A mask on the loss is not enough: the gradient of a masked loss is 0 times its derivative, which
    is NaN if the placeholder of the label is NaN or infinite.
    """

    def keep(mask, labels):
        def zero_absent(label):
            return jnp.where(jnp.reshape(mask > 0, mask.shape + (1,) * (label.ndim - 1)), label, 0)

        return jax.tree.map(zero_absent, labels)

    return batch.replace(
        hand_keypoints_2d=keep(batch.has_2d, batch.hand_keypoints_2d),
        head_keypoints_2d=keep(batch.has_2d, batch.head_keypoints_2d),
        hand_keypoints_depth=keep(batch.has_depth, batch.hand_keypoints_depth),
        head_keypoints_depth=keep(batch.has_depth, batch.head_keypoints_depth),
        hand_params=keep(batch.has_params, batch.hand_params),
        head_params=keep(batch.has_params, batch.head_params),
        deformations=keep(batch.has_deformations, batch.deformations),
        hand_contact=keep(batch.has_contact, batch.hand_contact),
        head_contact=keep(batch.has_contact, batch.head_contact),
    ), keep(batch.has_3d, targets)
