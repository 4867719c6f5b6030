"""InteractionNet: how the skin gives way and what touches, from the same tokens as MeshNet (paper
sec. 3.1).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.nearest import nearest_neighbors
from dice_jax.models.config import InteractionNetConfig, UpsamplingConfig
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.tokens import TokenDense, Tokens
from dice_jax.models.layers.transformer import encode
from dice_jax.models.mesh_aligned import View
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import ContactLogits

_RANGES = (
    0.005,
    0.015,
    0.045,
)  # meters over which nearness fades: a touch, a finger's width, a hand's


class InteractionNet(nn.Module):
    """Deformation and contact share the encoders, since contact causes deformation, but not the
    up-sampling.

    With `config.shared` there are no encoders here: four numbers a token come in.
    """

    config: InteractionNetConfig
    upsampling: UpsamplingConfig
    hand_levels: MeshLevels
    head_levels: MeshLevels
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        tokens: Tokens | Float[Array, "B 843 4"],
        positions: Float[Array, "B 843 3"],
        view: View | None = None,
        *,
        train: bool,
    ) -> tuple[Float[Array, "B 5023 3"], ContactLogits]:
        """Returns deformations (meters, camera axes, to be subtracted from the head) and contact
        logits.

        Args:
            tokens: of the image, or the four numbers a token.
            positions: where MeshNet puts the tokens, head-centerd; for `config.sees_meshes` and
                `sees_image`.
            view: of the image; for `config.sees_image`.
            train: see `DICE`.
        """
        x = tokens
        if not self.config.shared:
            x = TokenDense(self.config.projection, dtype=self.dtype, name="projection")(x)
            if self.config.sees_meshes:
                # Contact does not move the meshes: that is what the touch loss is for.
                near = proximity(jax.lax.stop_gradient(positions)).astype(self.dtype)
                x += nn.Dense(self.config.projection, dtype=self.dtype, name="proximity")(near)
            if self.config.sees_image:
                seen = jnp.concatenate(
                    [view.at(positions), view.near_hand(positions).astype(self.dtype)], axis=-1
                )
                x += nn.Dense(self.config.projection, dtype=self.dtype, name="evidence")(seen)
            x = encode(
                self.config.encoders, 4, x, train=train, dtype=self.dtype, axis_name=self.axis_name
            )
        upsample = lambda levels, name: Upsampling(levels, self.upsampling, name=name)

        deformations = upsample(self.head_levels, "deformation_upsampling")(
            self.config.deformation_scale * x[:, layout.HEAD_VERTICES, :3]
        )
        hand = upsample(self.hand_levels, "hand_contact_upsampling")(x[:, layout.HAND_VERTICES, 3:])
        head = upsample(self.head_levels, "head_contact_upsampling")(x[:, layout.HEAD_VERTICES, 3:])
        logits = [level[..., 0] for level in (hand[1], hand[0], head[2], head[1], head[0])]
        return deformations[0], ContactLogits(*logits)


def proximity(positions: Float[Array, "B 843 3"]) -> Float[Array, "B 843 9"]:
    """For each token: its place about the head's middle, the way to the nearest token of the other
    part (both in decimeters), and exp(-distance / range) for three ranges.
    """
    is_head = layout.part_of_token() == 1
    hand, head = (
        jnp.flatnonzero(mask, size=size) for mask, size in ((~is_head, 216), (is_head, 627))
    )
    nearest = jnp.zeros_like(positions)
    for own, other in ((hand, head), (head, hand)):
        _, indices = nearest_neighbors(positions[:, own], positions[:, other])
        nearest = nearest.at[:, own].set(
            jnp.take_along_axis(positions[:, other], indices[..., None], axis=1)
        )
    way = nearest - positions
    distance = jnp.linalg.norm(way, axis=-1, keepdims=True)
    place = positions - positions[:, layout.HEAD_VERTICES].mean(1, keepdims=True)
    return jnp.concatenate(
        [10.0 * place, 10.0 * way, *(jnp.exp(-distance / r) for r in _RANGES)], axis=-1
    )
