"""A finer map of the image than the backbone's last layer, and the keypoints found in it."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.models.layers.tokens import NUM_KEYPOINTS

FINE_CELLS = 28


class FineMap(nn.Module):
    """One map of 28 x 28 cells from several levels of the backbone.

    The levels are summed after a linear layer on each. Two residual 3 x 3 convolutions follow,
    zero-initialized.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, levels: Sequence[Float[Array, "B _ _ _"]]
    ) -> Float[Array, "B 28 28 {self.features}"]:
        total = 0.0
        for i, level in enumerate(levels):
            project = nn.Dense(
                self.features, kernel_init=torch_linear, dtype=self.dtype, name=f"level_{i}"
            )
            shape = (level.shape[0], FINE_CELLS, FINE_CELLS, self.features)
            total += jax.image.resize(project(level), shape, "linear")
        x = nn.relu(total)
        for i in range(2):
            conv = nn.Conv(
                self.features,
                (3, 3),
                kernel_init=nn.initializers.zeros,
                dtype=self.dtype,
                name=f"context_{i}",
            )
            x = nn.relu(x + conv(x))
        return x


class Heatmaps(nn.Module):
    """Heatmaps of all keypoints, hand first, as logits of a softmax over the cells."""

    @nn.compact
    def __call__(self, features: Float[Array, "B H W C"]) -> Float[Array, "B H W 89"]:
        scores = nn.Dense(NUM_KEYPOINTS, kernel_init=torch_linear, name="scores")
        return scores(features.astype(jnp.float32))


def expected_keypoints(heatmaps: Float[Array, "B H W K"]) -> Float[Array, "B K 2"]:
    """Expected position of each keypoint (integral regression, Sun et al. 2018).

    Args:
        heatmaps: logits, from `Heatmaps`.

    Returns:
        x, y in pixels of the crop.
    """
    return _moments(heatmaps, 1)


def keypoint_sigma(heatmaps: Float[Array, "*B H W K"]) -> Float[Array, "*B K"]:
    """Standard deviation of each keypoint along an axis of the image, pixels of the crop.

    Args:
        heatmaps: logits, from `Heatmaps`.
    """
    flat = heatmaps.reshape(-1, *heatmaps.shape[-3:])
    # The spread within a cell is that of a uniform distribution.
    within = (CROP_SIZE / heatmaps.shape[-2]) ** 2 / 12.0
    variance = (_moments(flat, 2) - _moments(flat, 1) ** 2).mean(-1) + within
    return jnp.sqrt(variance).reshape(*heatmaps.shape[:-3], -1)


def _moments(heatmaps: Float[Array, "B H W K"], power: int) -> Float[Array, "B K 2"]:
    """Means of x^power and y^power under the softmax of the heatmaps."""
    height, width = heatmaps.shape[1:3]
    shares = jax.nn.softmax(heatmaps, axis=(1, 2))
    columns = (jnp.arange(width) + 0.5) * (CROP_SIZE / width)
    rows = (jnp.arange(height) + 0.5) * (CROP_SIZE / height)
    x = jnp.einsum("bhwk,w->bk", shares, columns**power)
    y = jnp.einsum("bhwk,h->bk", shares, rows**power)
    return jnp.stack([x, y], axis=-1)
