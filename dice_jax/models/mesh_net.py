"""MeshNet: rough meshes and keypoints of hand and head from the tokens (paper sec. 3.1)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center
from dice_jax.body_models.hierarchy import upsample
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.models.baselines import encode_cross
from dice_jax.models.config import FRONTAL_HEAD, PALM_TO_FACE, MeshNetConfig, UpsamplingConfig
from dice_jax.models.ik_net import rotation_from_6d
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.models.layers.tokens import Tokens
from dice_jax.models.layers.transformer import encode
from dice_jax.models.mesh_aligned import View
from dice_jax.models.upsampling import MeshLevels, Upsampling
from dice_jax.structs import RoughMeshes

# Tokens where a refinement looks: keypoints and landmarks, and a share of the vertices.
_LOOKOUTS = np.r_[layout.HAND_KEYPOINTS, layout.HEAD_KEYPOINTS, 89:284:3, 284:843:9]
_EVIDENCE = 8  # channels at each of them


class MeshNet(nn.Module):
    """Three encoders put a position on every token; the full meshes are up-sampled from the coarse
    ones.

    `extra` more numbers a token come out for the `InteractionNet` that shares these encoders.
    """

    config: MeshNetConfig
    upsampling: UpsamplingConfig
    hand_levels: MeshLevels
    head_levels: MeshLevels
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    extra: int = 0

    @nn.compact
    def __call__(
        self, tokens: Tokens | Float[Array, "B 49 C"], view: View | None = None, *, train: bool
    ) -> tuple[
        Float[Array, "B 843 3"],
        RoughMeshes,
        Float[Array, "B 843 {self.extra}"],
        Float[Array, "B 2 3 3"] | None,
    ]:
        """Returns the position of every token, the meshes (meters, camera axes, any origin), the
        extra numbers, and how hand and head of the template were turned (None where they were not).

        `view` is for `config.refinements`. With `config.attention` "cross", the grid itself takes
        the place of `tokens`.
        """
        run = encode_cross if self.config.attention == "cross" else encode
        outputs = run(
            self.config.encoders,
            3 + self.extra,
            tokens,
            train=train,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        positions, extra, turns = (
            self.config.position_scale * outputs[..., :3],
            outputs[..., 3:],
            None,
        )
        if self.config.template_residual:
            template = template_in_view(tokens.queries)
            if self.config.template_placed:
                placement = Placement(self.config, self.head_levels, name="placement")
                template, turns = placement(tokens.grid, template, view)
            positions += template
        hand = Upsampling(self.hand_levels, self.upsampling, name="hand_upsampling")(
            positions[:, layout.HAND_VERTICES]
        )
        head = Upsampling(self.head_levels, self.upsampling, name="head_upsampling")(
            positions[:, layout.HEAD_VERTICES]
        )
        keypoints = positions[:, layout.HAND_KEYPOINTS]
        if self.config.keypoint_order == "mano":
            keypoints = keypoints[:, jnp.array(OPENPOSE_FROM_MANO)]
        rough = RoughMeshes(
            hand_keypoints=keypoints,
            head_keypoints=positions[:, layout.HEAD_KEYPOINTS],
            hand_vertices_coarse=hand[1],
            hand_vertices=hand[0],
            head_vertices_coarse=head[2],
            head_vertices_mid=head[1],
            head_vertices=head[0],
        )
        return positions, rough, extra, turns


class Placement(nn.Module):
    """Turns and moves hand and head as the image says: six coarse degrees of freedom each, which
    tokens learn slowly.

    A first guess is read off the coarse grid. Each of `refinements` then looks at what the image
    shows where some points of hand and head land, and corrects the guess; the last also bends them.
    """

    config: MeshNetConfig
    head_levels: MeshLevels

    @nn.compact
    def __call__(
        self, grid: Float[Array, "B 49 C"], template: Float[Array, "843 3"], view: View | None
    ) -> tuple[Float[Array, "B 843 3"], Float[Array, "B 2 3 3"]]:
        x = nn.relu(
            nn.Dense(32, kernel_init=torch_linear, name="per_cell")(grid.astype(jnp.float32))
        )
        hidden = nn.relu(
            nn.Dense(256, kernel_init=torch_linear, name="hidden")(x.reshape(len(x), -1))
        )
        rotations, offsets = self._rigid(hidden, "output")
        for i in range(self.config.refinements):
            hidden = self._look(
                _place(template, rotations, offsets), rotations, hidden, view, f"refinement_{i}"
            )
            turn, shift = self._rigid(hidden, f"refinement_{i}_output")
            rotations, offsets = rotations @ turn, offsets + shift
        if self.config.refinements:
            bend = nn.Dense(
                3 * layout.NUM_TOKENS, kernel_init=nn.initializers.normal(1e-3), name="bend"
            )(hidden)
            template += self.config.position_scale * bend.reshape(-1, layout.NUM_TOKENS, 3)
        return _place(template, rotations, offsets), rotations

    def _look(self, positions, rotations, hidden, view, name):
        """What is known of the placement, and what the image shows there, as 256 numbers."""
        head = upsample(
            self.head_levels.hierarchy,
            positions[:, layout.HEAD_VERTICES],
            self.head_levels.coarsest,
            0,
        )
        positions = (positions - head_center(head)[:, None])[:, _LOOKOUTS]
        seen = nn.Dense(_EVIDENCE, kernel_init=torch_linear, name=f"{name}_evidence")(
            view.at(positions)
        )
        missed = view.missed(positions[:, : layout.HEAD_KEYPOINTS.stop]) / 32.0
        known = (hidden, rotations, 10.0 * positions, seen.astype(jnp.float32), missed)
        known = jnp.concatenate([x.reshape(len(x), -1) for x in known], axis=-1)
        return nn.relu(nn.Dense(256, kernel_init=torch_linear, name=f"{name}_hidden")(known))

    def _rigid(self, hidden, name):
        """A rotation and a translation (meters) for each part; nothing to begin with."""
        x = nn.Dense(2 * 9, kernel_init=nn.initializers.normal(1e-3), name=name)(hidden).reshape(
            -1, 2, 9
        )
        return rotation_from_6d(x[..., :6]), self.config.position_scale * x[..., 6:]


def _place(points, rotations, offsets):
    part = layout.part_of_token()
    return (rotations[:, part] * points[..., None, :]).sum(-1) + offsets[:, part]


def template_in_view(queries: Float[Array, "843 3"]) -> Float[Array, "843 3"]:
    """The templates turned as a face that looks at us and a hand on its way to it, both about the
    origin.
    """
    rotations = axis_angle_to_matrix(jnp.array([PALM_TO_FACE, FRONTAL_HEAD]))
    return jnp.einsum("nij,nj->ni", rotations[layout.part_of_token()], queries)
