"""MeshNet: rough meshes and keypoints of hand and head from the tokens (paper sec. 3.1)."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.models.config import MeshNetConfig
from dice_jax.models.evidence import Evidence
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.tokens import Tokens
from dice_jax.models.layers.transformer import encode
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.models.placement import Placement
from dice_jax.models.template import template_in_view
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import RoughMeshes


class MeshNetOutput(struct.PyTreeNode):
    """Output of MeshNet; meters, camera axes, any origin.

    Attributes:
        positions: of every token.
        rough: keypoints and vertices at every level, from `positions`.
        extra: further outputs of each token, as many as `MeshNet.extra`.
        template_orient: rotations of the template's hand and head, with
            `MeshNetConfig.template_placed`; else None.
        hand_depth_sigma: see `placement.Placed`.
    """

    positions: Float[Array, "B 843 3"]
    rough: RoughMeshes
    extra: Float[Array, "B 843 E"]
    template_orient: Float[Array, "B 2 3 3"] | None = None
    hand_depth_sigma: Float[Array, "B"] | None = None

    @property
    def head_center(self) -> Float[Array, "B 3"]:
        """Centroid of the rough head."""
        return head_center(self.rough.head_vertices)

    @property
    def head_centered_positions(self) -> Float[Array, "B 843 3"]:
        """Positions of the tokens, the centroid of the rough head being the origin."""
        return self.positions - self.head_center[:, None]


class MeshNet(nn.Module):
    """A transformer regresses the position of every token; the coarse meshes are then up-sampled.

    With `extra` it regresses further outputs for each token, for networks without an
    `InteractionNet`.
    """

    config: MeshNetConfig
    upsampling: Literal["learned", "barycentric"]
    hand_levels: MeshLevels
    head_levels: MeshLevels
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    extra: int = 0

    @nn.compact
    def __call__(
        self,
        tokens: Tokens,
        image_features: MeshAlignedFeatures | None = None,
        evidence: Evidence | None = None,
        *,
        train: bool,
    ) -> MeshNetOutput:
        """Regresses the meshes.

        Args:
            tokens: of the image.
            image_features: for `config.refinements`.
            evidence: from `EvidenceNet`, for the placement.
            train: use dropout.
        """
        config = self.config
        outputs = encode(
            config.encoders,
            3 + self.extra,
            tokens,
            train=train,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        positions = config.position_scale * outputs[..., :3]
        template_orient = hand_depth_sigma = None
        if config.template_residual:
            template = template_in_view(tokens.queries)[None]
            if config.template_placed:
                placement = Placement(config, self.head_levels, name="placement")
                template, template_orient, hand_depth_sigma = placement(
                    tokens.grid, template[0], image_features, evidence
                )
            positions += template
        rough = upsample_meshes(
            positions, config.keypoint_order, self.upsampling, self.hand_levels, self.head_levels
        )
        return MeshNetOutput(positions, rough, outputs[..., 3:], template_orient, hand_depth_sigma)


def upsample_meshes(
    positions: Float[Array, "B 843 3"],
    keypoint_order: Literal["openpose", "mano"],
    upsampling: Literal["learned", "barycentric"],
    hand_levels: MeshLevels,
    head_levels: MeshLevels,
) -> RoughMeshes:
    """Keypoints and full meshes from the tokens; the up-samplings are children of the caller."""
    upsample_hand = Upsampling(hand_levels, upsampling, name="hand_upsampling")
    upsample_head = Upsampling(head_levels, upsampling, name="head_upsampling")
    hand = upsample_hand(positions[:, layout.HAND_VERTICES])
    head = upsample_head(positions[:, layout.HEAD_VERTICES])
    keypoints = positions[:, layout.HAND_KEYPOINTS]
    if keypoint_order == "mano":
        keypoints = keypoints[:, jnp.array(OPENPOSE_FROM_MANO)]
    return RoughMeshes(
        hand_keypoints=keypoints,
        head_keypoints=positions[:, layout.HEAD_KEYPOINTS],
        hand_vertices_coarse=hand[1],
        hand_vertices=hand[0],
        head_vertices_coarse=head[2],
        head_vertices_mid=head[1],
        head_vertices=head[0],
    )
