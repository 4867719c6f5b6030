"""The 843 tokens of paper sec. 3.1, kept as the product of a small grid and a learned map.

A token is the template position of its keypoint or vertex followed by a learned mix of the 49 grid
cells, `token[n] = [queries[n], sum_g kernel[g, n] grid[g] + bias[n]]`: 843 x 2051 numbers, of which
only 49 x 2048 are independent. A linear layer on the tokens may therefore act on the grid first and
be mapped after, which gives the same result for a tenth of the work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.models.layers.initializers import torch_linear

NUM_TOKENS = 843
MASKED_VALUE = 0.01
# Order of the tokens: hand keypoints, head keypoints, coarse hand vertices, coarse head vertices.
HAND_KEYPOINTS, HEAD_KEYPOINTS = slice(0, 21), slice(21, 89)
HAND_VERTICES, HEAD_VERTICES = slice(89, 284), slice(284, 843)


def part_of_token() -> Int[Array, "843"]:
    """0 for tokens of the hand, 1 for those of the head."""
    part = jnp.zeros(NUM_TOKENS, int)
    return part.at[HEAD_KEYPOINTS].set(1).at[HEAD_VERTICES].set(1)


class Tokens(struct.PyTreeNode):
    """All tokens of a batch, not multiplied out.

    Attributes:
        grid: image features, row by row.
        kernel, bias: the learned up-sampling from cells to tokens; a token's bias is added to each
            of its channels.
        queries: template positions, meters.
        mask: tokens hidden in this step (every channel, positions too, is 0.01), or None.
    """

    grid: Float[Array, "B 49 C"]
    kernel: Float[Array, "49 843"]
    bias: Float[Array, "843"]
    queries: Float[Array, "843 3"]
    mask: Bool[Array, "843"] | None = None


class TokenUpsampling(nn.Module):
    """From grid cells to tokens; while training, hides up to a share `masking` of them (masked
    vertex modeling).

    One mask serves the whole batch, as in METRO: the share is uniform between 0 and `masking`, and
    the tokens are drawn without replacement.
    """

    masking: float = 0.3

    @nn.compact
    def __call__(
        self, grid: Float[Array, "B 49 C"], queries: Float[Array, "843 3"], *, train: bool
    ) -> Tokens:
        kernel = self.param("kernel", torch_linear, (grid.shape[1], queries.shape[0]))
        bias = self.param("bias", nn.initializers.zeros, (queries.shape[0],))
        mask = (
            random_mask(self.make_rng("mask"), queries.shape[0], self.masking)
            if train and self.masking
            else None
        )
        return Tokens(grid, kernel, bias, queries, mask)


def random_mask(key: Array, count: int, largest_share: float) -> Bool[Array, "{count}"]:
    """Marks floor(u * largest_share * count) of `count` entries, u uniform in [0, 1)."""
    share_key, order_key = jax.random.split(key)
    masked = jnp.floor(jax.random.uniform(share_key) * largest_share * count)
    return jax.random.permutation(order_key, count) < masked


class TokenDense(nn.Module):
    """A linear layer over the channels of `Tokens`, or of an ordinary array, with the same weights."""

    features: int
    kernel_init: nn.initializers.Initializer = torch_linear
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Tokens | Float[Array, "B 843 C"]
    ) -> Float[Array, "B 843 {self.features}"]:
        channels = 3 + tokens.grid.shape[-1] if isinstance(tokens, Tokens) else tokens.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (channels, self.features)).astype(
            self.dtype
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        if not isinstance(tokens, Tokens):
            return tokens.astype(self.dtype) @ kernel + bias

        t = jax.tree.map(lambda x: x if x.dtype == bool else x.astype(self.dtype), tokens)
        of_position, of_image = kernel[:3], kernel[3:]
        constant = t.queries @ of_position + t.bias[:, None] * of_image.sum(0)
        result = jnp.einsum("bgf,gn->bnf", t.grid @ of_image, t.kernel) + constant
        if t.mask is not None:
            result = jnp.where(t.mask[:, None], MASKED_VALUE * kernel.sum(0), result)
        return result + bias
