"""InteractionNet: deformation and contact, from the same tokens as MeshNet (paper sec. 3.1)."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.nearest import nearest_neighbors
from dice_jax.models.config import InteractionNetConfig
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.tokens import TokenDense, Tokens
from dice_jax.models.layers.transformer import encode
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import ContactLogits

NUM_OUTPUTS = 4  # of each token: a deformation and a contact logit
_PROXIMITY_RANGES = (0.005, 0.015, 0.045)  # meters: a touch, the width of a finger and of a hand


class InteractionNetOutput(struct.PyTreeNode):
    """Output of InteractionNet.

    Attributes:
        deformations: of the head's vertices, meters, camera axes; `deformed = vertices -
            deformations`.
        contact_logits: of the vertices of hand and head at every level.
    """

    deformations: Float[Array, "B 5023 3"]
    contact_logits: ContactLogits


class InteractionNet(nn.Module):
    """A transformer regresses a deformation and a contact logit for every token.

    Both share the transformer, since contact causes deformation, but not the up-sampling to full
    meshes.
    """

    config: InteractionNetConfig
    upsampling: Literal["learned", "barycentric"]
    hand_levels: MeshLevels
    head_levels: MeshLevels
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        tokens: Tokens,
        positions: Float[Array, "B 843 3"],
        image_features: MeshAlignedFeatures | None = None,
        *,
        train: bool,
    ) -> InteractionNetOutput:
        """Regresses deformation and contact.

        Args:
            tokens: of the image.
            positions: of the tokens in the rough meshes, meters, head-centered; for
                `config.sees_meshes` and `config.sees_image`.
            image_features: for `config.sees_image`.
            train: use dropout.
        """
        config = self.config
        linear = lambda name: nn.Dense(config.projection, dtype=self.dtype, name=name)
        x = TokenDense(config.projection, dtype=self.dtype, name="projection")(tokens)
        if config.sees_meshes:
            # No gradient: the contact losses do not move the meshes, the touch loss does.
            near = proximity(jax.lax.stop_gradient(positions))
            x += linear("proximity")(near.astype(self.dtype))
        if config.sees_image:
            assert image_features is not None, "sees_image needs image_features"
            near_hand = image_features.proximity_to_hand(positions).astype(self.dtype)
            sampled = jnp.concatenate([image_features.sample(positions), near_hand], axis=-1)
            x += linear("evidence")(sampled)
        outputs = encode(
            config.encoders,
            NUM_OUTPUTS,
            x,
            train=train,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        return upsample_interaction(
            outputs, config.deformation_scale, self.upsampling, self.hand_levels, self.head_levels
        )


def upsample_interaction(
    outputs: Float[Array, "B 843 4"],
    deformation_scale: float,
    upsampling: Literal["learned", "barycentric"],
    hand_levels: MeshLevels,
    head_levels: MeshLevels,
) -> InteractionNetOutput:
    """Full meshes of deformations and contacts from the outputs of the tokens.

    The up-samplings become children of the calling module.

    Args:
        outputs: a deformation (in units of `deformation_scale` meters) and a contact logit of each
            token.
        deformation_scale, upsampling: see `InteractionNetConfig` and `ModelConfig`.
        hand_levels, head_levels: the mesh hierarchies.
    """
    upsample = lambda levels, name: Upsampling(levels, upsampling, name=name)
    hand, head = outputs[:, layout.HAND_VERTICES], outputs[:, layout.HEAD_VERTICES]
    deformations = upsample(head_levels, "deformation_upsampling")(
        deformation_scale * head[..., :3]
    )
    hand_contact = upsample(hand_levels, "hand_contact_upsampling")(hand[..., 3:])
    head_contact = upsample(head_levels, "head_contact_upsampling")(head[..., 3:])
    hand_fine, hand_coarse = (level[..., 0] for level in hand_contact)
    head_fine, head_mid, head_coarse = (level[..., 0] for level in head_contact)
    logits = ContactLogits(hand_coarse, hand_fine, head_coarse, head_mid, head_fine)
    return InteractionNetOutput(deformations[0], logits)


def proximity(positions: Float[Array, "B 843 3"]) -> Float[Array, "B 843 9"]:
    """Where each token is, and how far it is from the other part.

    Args:
        positions: of the tokens, meters.

    Returns:
        The position relative to the mean of the head's vertices and the offset of the nearest token
        of the other part, both in decimeters; and exp(-distance / range) for three ranges.
    """
    part = layout.PART_OF_TOKEN
    hand, head = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
    nearest = jnp.zeros_like(positions)
    for own, other in ((hand, head), (head, hand)):
        others = positions[:, other]
        _, indices = nearest_neighbors(positions[:, own], others)
        nearest = nearest.at[:, own].set(jnp.take_along_axis(others, indices[..., None], axis=1))
    offset = nearest - positions
    distance = jnp.linalg.norm(offset, axis=-1, keepdims=True)
    place = positions - positions[:, layout.HEAD_VERTICES].mean(1, keepdims=True)
    near = [jnp.exp(-distance / r) for r in _PROXIMITY_RANGES]
    return jnp.concatenate([10.0 * place, 10.0 * offset, *near], axis=-1)
