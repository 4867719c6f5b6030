"""MeshNet: rough meshes and keypoints of hand and head from the tokens (paper sec. 3.1)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.models import tokens as layout
from dice_jax.models.config import FRONTAL_HEAD, PALM_TO_FACE, MeshNetConfig, UpsamplingConfig
from dice_jax.models.tokens import Tokens
from dice_jax.models.transformer import encode
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import RoughMeshes


class MeshNet(nn.Module):
  """Three encoders put a position on every token; the full meshes are up-sampled from the coarse ones."""

  config: MeshNetConfig
  upsampling: UpsamplingConfig
  hand_levels: MeshLevels
  head_levels: MeshLevels
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens: Tokens, *, train: bool) -> tuple[Float[Array, "B 843 3"], RoughMeshes]:
    """Returns the position of every token, and the meshes; metres, camera axes, the origin left to the network."""
    positions = encode(self.config.encoders, 3, tokens, train=train, dtype=self.dtype)
    if self.config.template_residual:
      positions = positions + template_in_view(tokens.queries)
    hand = Upsampling(self.hand_levels, self.upsampling, name="hand_upsampling")(positions[:, layout.HAND_VERTICES])
    head = Upsampling(self.head_levels, self.upsampling, name="head_upsampling")(positions[:, layout.HEAD_VERTICES])
    return positions, RoughMeshes(
      hand_keypoints=positions[:, layout.HAND_KEYPOINTS],
      head_keypoints=positions[:, layout.HEAD_KEYPOINTS],
      hand_vertices_coarse=hand[1],
      hand_vertices=hand[0],
      head_vertices_coarse=head[2],
      head_vertices_mid=head[1],
      head_vertices=head[0],
    )


def template_in_view(queries: Float[Array, "843 3"]) -> Float[Array, "843 3"]:
  """The templates turned as a face that looks at us and a hand on its way to it, both about the origin."""
  rotations = axis_angle_to_matrix(jnp.array([PALM_TO_FACE, FRONTAL_HEAD]))
  is_head = jnp.zeros(len(queries), int)
  for part in (layout.HEAD_KEYPOINTS, layout.HEAD_VERTICES):
    is_head = is_head.at[part].set(1)
  return jnp.einsum("nij,nj->ni", rotations[is_head], queries)
