"""What the baselines of the paper's Table 1 have and DICE has not; `presets` puts them together.

METRO* and FastMETRO* share one transformer among positions, deformation and contact, and their
answer is the rough mesh. FastMETRO's (Cho et al. 2022) tokens carry no image features: they are
learned, and look at the image by cross-attention; here without its adjacency mask and with a
learned position for each cell. PIXIE-R regresses the parameters from the mean image feature.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.config import EncodersConfig
from dice_jax.models.layers.attention import attention
from dice_jax.models.layers.dropout import Dropout
from dice_jax.models.layers.tokens import NUM_TOKENS
from dice_jax.models.layers.transformer import EncoderLayer, dense, layer_norm
from dice_jax.structs import ContactLogits, HandParams, HeadParams, RoughMeshes

_NO_CONTACT = -10.0  # a logit
_init = nn.initializers.normal(0.02)


class DecoderLayer(nn.Module):
    """Lets the tokens look at a memory, then runs a BERT layer on them; post-norm as everywhere
    here.
    """

    config: EncodersConfig
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N C"], memory: Float[Array, "B M C"], train: bool
    ) -> Float[Array, "B N C"]:
        heads = self.config.heads
        project = lambda name, source: dense(x.shape[-1], self.dtype, name)(source).reshape(
            *source.shape[:-1], heads, x.shape[-1] // heads
        )
        mixed = attention(
            project("query", x), project("key", memory), project("value", memory)
        ).reshape(x.shape)
        mixed = dense(x.shape[-1], self.dtype, "cross_output")(mixed)
        mixed = Dropout(self.config.dropout, self.axis_name)(mixed, train=train)
        x = layer_norm("cross_norm")(x + mixed).astype(self.dtype)
        return EncoderLayer(self.config, self.dtype, self.axis_name, name="self")(x, train)


def encode_cross(
    config: EncodersConfig,
    features: int,
    grid: Float[Array, "B 49 C"],
    *,
    train: bool,
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
) -> Float[Array, "B 843 {features}"]:
    """FastMETRO's transformer, as children of the calling module, in place of `transformer.encode`.

    Each stage narrows grid and tokens to its width, runs its layers on the grid, and then as many
    that let the tokens look at it. `config.outputs` is not used.

    Returns:
        `features` numbers a token, float32.
    """
    memory, x = grid, None
    for stage, (hidden, layers) in enumerate(zip(config.hidden, config.layers, strict=True)):
        memory = dense(hidden, dtype, f"grid_{stage}")(memory)
        if x is None:
            memory = (
                memory
                + nn.Embed(
                    memory.shape[1], hidden, name="grid_positions", embedding_init=_init
                ).embedding
            )
            table = nn.Embed(NUM_TOKENS, hidden, name="tokens", embedding_init=_init).embedding
            x = jnp.broadcast_to(table.astype(dtype), (len(memory), *table.shape))
        else:
            x = dense(hidden, dtype, f"tokens_{stage}")(x)
        memory = memory.astype(dtype)
        for k in range(layers):
            memory = EncoderLayer(config, dtype, axis_name, name=f"encoder_{stage}_{k}")(
                memory, train
            )
        for k in range(layers):
            x = DecoderLayer(config, dtype, axis_name, name=f"decoder_{stage}_{k}")(
                x, memory, train
            )
    head = nn.Dense(
        features, kernel_init=nn.initializers.normal(config.output_std), dtype=dtype, name="head"
    )
    return head(x).astype(jnp.float32)


def no_meshes(
    batch: int,
) -> tuple[Float[Array, "B 843 3"], RoughMeshes, Float[Array, "B 5023 3"], ContactLogits]:
    """Positions, rough meshes, deformations and contact logits of a network that regresses none."""
    zeros = lambda *shape: jnp.zeros((batch, *shape))
    rough = RoughMeshes(*(zeros(count, 3) for count in (21, 68, 195, 778, 559, 1675, 5023)))
    logits = ContactLogits(*(zeros(count) + _NO_CONTACT for count in (195, 778, 559, 1675, 5023)))
    return zeros(NUM_TOKENS, 3), rough, zeros(5023, 3), logits


def no_parameters(batch: int) -> tuple[HandParams, HeadParams]:
    """Zeros in place of the parameters of a network whose answer is the rough meshes."""
    zeros = lambda size: jnp.zeros((batch, size))
    return HandParams(*map(zeros, (10, 3, 45, 3))), HeadParams(*map(zeros, (100, 50, 3, 3, 3, 3)))
