"""InteractionNet: how the skin gives way and what touches, from the same tokens as MeshNet (paper sec. 3.1)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dice_jax.models import tokens as layout
from dice_jax.models.config import InteractionNetConfig, UpsamplingConfig
from dice_jax.models.tokens import TokenDense, Tokens
from dice_jax.models.transformer import encode
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import ContactLogits


class InteractionNet(nn.Module):
  """Deformation and contact share the encoders, since contact causes deformation, but not the up-sampling.

  With `config.shared` there are no encoders here: four numbers a token come in.
  """

  config: InteractionNetConfig
  upsampling: UpsamplingConfig
  hand_levels: MeshLevels
  head_levels: MeshLevels
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, tokens: Tokens | Float[Array, "B 843 4"], *, train: bool
  ) -> tuple[Float[Array, "B 5023 3"], ContactLogits]:
    """Returns deformations (metres, camera axes, to be subtracted from the head) and contact logits."""
    x = tokens
    if not self.config.shared:
      x = TokenDense(self.config.projection, dtype=self.dtype, name="projection")(x)
      x = encode(self.config.encoders, 4, x, train=train, dtype=self.dtype)
    upsample = lambda levels, name: Upsampling(levels, self.upsampling, name=name)

    deformations = upsample(self.head_levels, "deformation_upsampling")(x[:, layout.HEAD_VERTICES, :3])
    hand = upsample(self.hand_levels, "hand_contact_upsampling")(x[:, layout.HAND_VERTICES, 3:])
    head = upsample(self.head_levels, "head_contact_upsampling")(x[:, layout.HEAD_VERTICES, 3:])
    logits = [level[..., 0] for level in (hand[1], hand[0], head[2], head[1], head[0])]
    return deformations[0], ContactLogits(*logits)
