"""The transformer encoders of MeshNet and InteractionNet: METRO's (Lin et al. 2021), which are
BERT's layers.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.config import EncodersConfig
from dice_jax.models.layers.attention import attention
from dice_jax.models.layers.dropout import Dropout, sample_keys
from dice_jax.models.layers.tokens import TokenDense, Tokens

_bert_init = nn.initializers.normal(0.02)


class SelfAttention(nn.Module):
    """Multi-head attention of the tokens to each other, with its output projection."""

    config: EncodersConfig
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], *, train: bool) -> Float[Array, "B N C"]:
        heads, width = self.config.heads, x.shape[-1]
        project = lambda name: dense(width, self.dtype, name)(x).reshape(
            *x.shape[:-1], heads, width // heads
        )
        query, key, value = project("query"), project("key"), project("value")
        if train and self.config.attention_dropout:
            attend = partial(
                nn.dot_product_attention,
                dropout_rate=self.config.attention_dropout,
                broadcast_dropout=False,
                dtype=self.dtype,
                force_fp32_for_softmax=True,
            )
            keys = sample_keys(self.make_rng("dropout"), len(x), self.axis_name)
            mixed = jax.vmap(lambda q, k, v, rng: attend(q, k, v, dropout_rng=rng))(
                query, key, value, keys
            )
        else:
            mixed = attention(query, key, value)
        return dense(width, self.dtype, "output")(mixed.reshape(x.shape))


class EncoderLayer(nn.Module):
    """A post-norm BERT layer: x = LN(x + attention(x)); x = LN(x + feed_forward(x)), with the exact
    (erf) GELU.
    """

    config: EncodersConfig
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], train: bool) -> Float[Array, "B N C"]:
        dropout = Dropout(self.config.dropout, self.axis_name)
        mixed = SelfAttention(self.config, self.dtype, self.axis_name, name="attention")(
            x, train=train
        )
        x = layer_norm("attention_norm")(x + dropout(mixed, train=train)).astype(self.dtype)
        wide = nn.gelu(
            dense(self.config.feed_forward, self.dtype, "intermediate")(x), approximate=False
        )
        narrow = dense(x.shape[-1], self.dtype, "output")(wide)
        return layer_norm("output_norm")(x + dropout(narrow, train=train)).astype(self.dtype)


class Encoder(nn.Module):
    """Embeds, adds learned positions, runs the layers, and adds a linear map of the input to a
    linear map of the result.

    There is no norm on the embedding, and the last layer's is the only one before the head, as in
    METRO.
    """

    config: EncodersConfig
    hidden: int
    layers: int
    features: int
    output_std: float = 0.02
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, tokens: Tokens | Float[Array, "B N C"], *, train: bool
    ) -> Float[Array, "B N {self.features}"]:
        x = TokenDense(self.hidden, _bert_init, self.dtype, name="embedding")(tokens)
        init = nn.initializers.normal(self.config.position_std)
        positions = self.param("position_embedding", init, (x.shape[1], self.hidden))
        x = Dropout(self.config.dropout, self.axis_name)(x + positions.astype(x.dtype), train=train)
        layer = nn.remat(EncoderLayer, static_argnums=(2,)) if self.config.remat else EncoderLayer
        for i in range(self.layers):
            x = layer(self.config, self.dtype, self.axis_name, name=f"layer_{i}")(x, train)
        init = nn.initializers.normal(self.output_std)
        return TokenDense(self.features, init, self.dtype, name="head")(x) + TokenDense(
            self.features, init, self.dtype, name="residual"
        )(tokens)


def encode(
    config: EncodersConfig,
    features: int,
    tokens: Tokens | Float[Array, "B N C"],
    *,
    train: bool,
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
) -> Float[Array, "B N {features}"]:
    """Runs encoders one after another, as children of the calling module: "encoder_0" and so on.

    Returns:
        The last one's `features` channels a token, float32.
    """
    outputs = (*config.outputs, features)
    for i, sizes in enumerate(zip(config.hidden, config.layers, outputs, strict=True)):
        std = config.output_std if i == len(outputs) - 1 else 0.02
        tokens = Encoder(config, *sizes, std, dtype, axis_name, name=f"encoder_{i}")(
            tokens, train=train
        )
    return tokens.astype(jnp.float32)


def dense(features, dtype, name):
    return nn.Dense(features, kernel_init=_bert_init, dtype=dtype, name=name)


def layer_norm(name):
    # BERT's epsilon is too small for the fast variance E[x^2] - E[x]^2, and for half precision.
    return nn.LayerNorm(epsilon=1e-12, use_fast_variance=False, dtype=jnp.float32, name=name)
