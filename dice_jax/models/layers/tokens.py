"""The 843 tokens of paper sec. 3.1, stored as a small grid and a learned linear map.

A token is the template position of its keypoint or vertex, followed by a learned combination of the
49 grid cells: `token[n] = [queries[n], sum_g kernel[g, n] grid[g] + bias[n]]`. These are 843 x 2051
numbers, of which only 49 x 2048 are independent. A linear layer on the tokens can therefore act on
the grid before the map, with the same result for a tenth of the work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, PRNGKeyArray

from dice_jax.array_types import Array
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS, NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS
from dice_jax.models.layers.initializers import torch_linear

# Order of the tokens: hand keypoints, head keypoints, coarse hand vertices, coarse head vertices.
NUM_KEYPOINTS = NUM_HAND_KEYPOINTS + NUM_HEAD_KEYPOINTS
HAND_KEYPOINTS = slice(0, NUM_HAND_KEYPOINTS)
HEAD_KEYPOINTS = slice(NUM_HAND_KEYPOINTS, NUM_KEYPOINTS)
HAND_VERTICES = slice(NUM_KEYPOINTS, NUM_KEYPOINTS + HAND_LEVELS[-1])
HEAD_VERTICES = slice(HAND_VERTICES.stop, HAND_VERTICES.stop + HEAD_LEVELS[-1])
NUM_TOKENS = HEAD_VERTICES.stop
# 0 for the tokens of the hand, 1 for those of the head.
PART_OF_TOKEN = np.zeros(NUM_TOKENS, np.int32)
PART_OF_TOKEN[HEAD_KEYPOINTS] = PART_OF_TOKEN[HEAD_VERTICES] = 1

MASKED_VALUE = 0.01


class Tokens(struct.PyTreeNode):
    """All tokens of a batch, as the factors of their product.

    Attributes:
        grid: image features, row by row.
        kernel, bias: the learned up-sampling from cells to tokens. A token's bias is added to each
            of its channels.
        queries: template positions, meters.
        mask: tokens that this step masks (all their channels, positions too, are 0.01), or None.
    """

    grid: Float[Array, "B G C"]
    kernel: Float[Array, "G N"]
    bias: Float[Array, "N"]
    queries: Float[Array, "N 3"]
    mask: Bool[Array, "N"] | None = None


class TokenUpsampling(nn.Module):
    """From grid cells to tokens; training masks up to a share `masking` of them.

    This is METRO's masked vertex modeling. One mask serves the whole batch: the share is uniform
    between 0 and `masking`, and the tokens are drawn without replacement.
    """

    masking: float = 0.3

    @nn.compact
    def __call__(
        self, grid: Float[Array, "B G C"], queries: Float[Array, "N 3"], *, train: bool
    ) -> Tokens:
        cells, count = grid.shape[1], len(queries)
        kernel = self.param("kernel", torch_linear, (cells, count))
        bias = self.param("bias", nn.initializers.zeros, (count,))
        mask = None
        if train and self.masking:
            mask = random_mask(self.make_rng("mask"), count, self.masking)
        return Tokens(grid, kernel, bias, queries, mask)


def random_mask(key: PRNGKeyArray, count: int, largest_share: float) -> Bool[Array, "{count}"]:
    """Marks floor(u * largest_share * count) of `count` entries, with u uniform in [0, 1)."""
    share_key, order_key = jax.random.split(key)
    masked = jnp.floor(jax.random.uniform(share_key) * largest_share * count)
    return jax.random.permutation(order_key, count) < masked


class TokenDense(nn.Module):
    """A linear layer over the channels of `Tokens`, or of an ordinary array."""

    features: int
    kernel_init: nn.initializers.Initializer = torch_linear
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Tokens | Float[Array, "B N C"]
    ) -> Float[Array, "B N {self.features}"]:
        channels = 3 + tokens.grid.shape[-1] if isinstance(tokens, Tokens) else tokens.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)[None, None]
        if not isinstance(tokens, Tokens):
            return tokens.astype(self.dtype) @ kernel + bias

        t = jax.tree.map(lambda x: x if x.dtype == bool else x.astype(self.dtype), tokens)
        of_position, of_image = kernel[:3], kernel[3:]
        constant = t.queries @ of_position + t.bias[:, None] * of_image.sum(0)[None]
        result = jnp.einsum("bgf,gn->bnf", t.grid @ of_image, t.kernel) + constant[None]
        if t.mask is not None:
            masked = MASKED_VALUE * kernel.sum(0)
            result = jnp.where(t.mask[None, :, None], masked[None, None], result)
        return result + bias
