"""The transformer encoders of MeshNet and InteractionNet: METRO's (Lin et al. 2021).

Their layers are BERT's.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.config import EncodersConfig
from dice_jax.models.layers.attention import attention
from dice_jax.models.layers.dropout import Dropout, sample_keys
from dice_jax.models.layers.initializers import bert_normal
from dice_jax.models.layers.tokens import TokenDense, Tokens


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection."""

    config: EncodersConfig
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], *, train: bool) -> Float[Array, "B N C"]:
        query, key, value = (
            split_heads(dense(x.shape[-1], self.dtype, name)(x), self.config.heads)
            for name in ("query", "key", "value")
        )
        if train and self.config.attention_dropout:
            attend = partial(
                nn.dot_product_attention,
                dropout_rate=self.config.attention_dropout,
                broadcast_dropout=False,
                dtype=self.dtype,
                force_fp32_for_softmax=True,
            )
            keys = sample_keys(self.make_rng("dropout"), len(x), self.axis_name)
            one_sample = lambda q, k, v, rng: attend(q, k, v, dropout_rng=rng)
            mixed = jax.vmap(one_sample)(query, key, value, keys)
        else:
            mixed = attention(query, key, value)
        return dense(x.shape[-1], self.dtype, "output")(mixed.reshape(x.shape))


class EncoderLayer(nn.Module):
    """A post-norm BERT layer: x = LN(x + attention(x)); x = LN(x + feed_forward(x)).

    The GELU is the exact one, with the error function.
    """

    config: EncodersConfig
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], train: bool) -> Float[Array, "B N C"]:
        dropout = Dropout(self.config.dropout, self.axis_name)
        self_attention = SelfAttention(self.config, self.dtype, self.axis_name, name="attention")
        mixed = self_attention(x, train=train)
        x = layer_norm("attention_norm")(x + dropout(mixed, train=train)).astype(self.dtype)
        wide = dense(self.config.feed_forward, self.dtype, "intermediate")(x)
        narrow = dense(x.shape[-1], self.dtype, "output")(nn.gelu(wide, approximate=False))
        return layer_norm("output_norm")(x + dropout(narrow, train=train)).astype(self.dtype)


class Encoder(nn.Module):
    """One encoder: embedding, learned positions, layers, and a linear map of input and result.

    As in METRO there is no norm on the embedding, and none between the last layer and the output.
    """

    config: EncodersConfig
    hidden: int
    layers: int
    features: int
    output_std: float = 0.02
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, tokens: Tokens | Float[Array, "B N C"], *, train: bool
    ) -> Float[Array, "B N {self.features}"]:
        x = TokenDense(self.hidden, bert_normal, self.dtype, name="embedding")(tokens)
        init = nn.initializers.normal(self.config.position_std)
        positions = self.param("position_embedding", init, (x.shape[1], self.hidden))
        x = x + positions.astype(x.dtype)[None]
        x = Dropout(self.config.dropout, self.axis_name)(x, train=train)
        layer = nn.remat(EncoderLayer, static_argnums=(2,)) if self.config.remat else EncoderLayer
        for i in range(self.layers):
            x = layer(self.config, self.dtype, self.axis_name, name=f"layer_{i}")(x, train)
        init = nn.initializers.normal(self.output_std)
        head = TokenDense(self.features, init, self.dtype, name="head")
        residual = TokenDense(self.features, init, self.dtype, name="residual")
        return head(x) + residual(tokens)


def encode(
    config: EncodersConfig,
    features: int,
    tokens: Tokens | Float[Array, "B N C"],
    *,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
) -> Float[Array, "B N {features}"]:
    """Runs encoders one after another; they become children "encoder_0", ... of the calling module.

    Returns:
        `features` channels of each token, float32.
    """
    outputs = (*config.outputs, features)
    x = tokens
    for i, sizes in enumerate(zip(config.hidden, config.layers, outputs, strict=True)):
        std = config.output_std if i == len(outputs) - 1 else 0.02
        encoder = Encoder(config, *sizes, std, dtype, axis_name, name=f"encoder_{i}")
        x = encoder(x, train=train)
    return jnp.asarray(x, jnp.float32)


def dense(features: int, dtype: DTypeLike, name: str) -> nn.Dense:
    """A linear layer with BERT's initial weights."""
    return nn.Dense(features, kernel_init=bert_normal, dtype=dtype, name=name)


def split_heads(x: Float[Array, "B N C"], heads: int) -> Float[Array, "B N {heads} D"]:
    """Splits the channels into attention heads."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def layer_norm(name: str) -> nn.LayerNorm:
    """BERT's layer norm, in float32."""
    # BERT's epsilon is too small for the fast variance E[x^2] - E[x]^2, and for half precision.
    return nn.LayerNorm(epsilon=1e-12, use_fast_variance=False, dtype=jnp.float32, name=name)
