"""The placement of the template: a rotation and a translation of hand and head from the image.

These six degrees of freedom of each part are the coarse ones, which tokens learn slowly.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center
from dice_jax.body_models.hierarchy import upsample
from dice_jax.models.config import MeshNetConfig
from dice_jax.models.evidence import Evidence
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.initializers import near_zero, torch_linear
from dice_jax.models.layers.rotation_6d import rotation_from_6d
from dice_jax.models.layers.tokens import HAND_VERTICES, HEAD_VERTICES, NUM_KEYPOINTS, NUM_TOKENS
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.models.upsampling import MeshLevels

# Tokens at which a refinement samples the image: all keypoints, and some of the vertices.
_SAMPLED_TOKENS = np.r_[
    :NUM_KEYPOINTS,
    HAND_VERTICES.start : HAND_VERTICES.stop : 3,
    HEAD_VERTICES.start : HEAD_VERTICES.stop : 9,
]
_SAMPLED_CHANNELS = 8  # of each of them
_HIDDEN = 256
_TYPICAL_DEPTH_ERROR = 0.02  # meters


class Placed(NamedTuple):
    """The placed template.

    Attributes:
        positions: of every token, meters, camera axes.
        orientations: rotations of hand and head.
        hand_depth_sigma: with `MeshNetConfig.depth_sigma`, the scale of the error of the hand's
            depth relative to the head, meters.
    """

    positions: Float[Array, "B 843 3"]
    orientations: Float[Array, "B 2 3 3"]
    hand_depth_sigma: Float[Array, "B"] | None


class Placement(nn.Module):
    """Places the template of hand and head with a perceptron on the grid of image features.

    Where hand or face were detected, it starts from the placement of the detected points. Each of
    `config.refinements` then samples the image where the placed template projects to, and corrects
    the placement. The last of them also deforms the template.
    """

    config: MeshNetConfig
    head_levels: MeshLevels

    @nn.compact
    def __call__(
        self,
        grid: Float[Array, "B 49 C"],
        template: Float[Array, "843 3"],
        image_features: MeshAlignedFeatures | None,
        evidence: Evidence | None = None,
    ) -> Placed:
        """Places the template.

        Args:
            grid: image features.
            template: from `template_in_view`.
            image_features: for `config.refinements`.
            evidence: from `EvidenceNet`.
        """
        per_cell = nn.Dense(32, kernel_init=torch_linear, name="per_cell")
        x = nn.relu(per_cell(grid.astype(jnp.float32)))
        x = x.reshape(x.shape[0], -1)
        x = x if evidence is None else jnp.concatenate([x, evidence.features], axis=-1)
        hidden = nn.relu(_linear(_HIDDEN, "hidden")(x))
        rotations, offsets = self._rigid_motion(hidden, "output")
        if evidence is not None:
            rotations = evidence.orientations @ rotations
            offsets = offsets.at[:, 0, :2].add(evidence.offset)
        template = template[None]
        for i in range(self.config.refinements):
            positions = _move(template, rotations, offsets)
            hidden = self._sample(positions, rotations, hidden, image_features, f"refinement_{i}")
            rotation, offset = self._rigid_motion(hidden, f"refinement_{i}_output")
            rotations, offsets = rotations @ rotation, offsets + offset
        if self.config.refinements:
            bend = nn.Dense(3 * NUM_TOKENS, kernel_init=near_zero, name="bend")(hidden)
            template = template + self.config.position_scale * bend.reshape(-1, NUM_TOKENS, 3)
        sigma = None
        if self.config.depth_sigma:
            log_sigma = nn.Dense(1, kernel_init=near_zero, name="depth_log_sigma")(hidden)[..., 0]
            sigma = _TYPICAL_DEPTH_ERROR * jnp.exp(jnp.clip(log_sigma, -3.0, 3.0))
        return Placed(_move(template, rotations, offsets), rotations, sigma)

    def _sample(self, positions, rotations, hidden, image_features, name):
        """A vector of the current placement and of what the image shows there."""
        hierarchy, coarsest = self.head_levels.hierarchy, self.head_levels.coarsest
        head = upsample(hierarchy, positions[:, layout.HEAD_VERTICES], coarsest, 0)
        positions = (positions - head_center(head)[:, None])[:, _SAMPLED_TOKENS]
        sampled = image_features.sample(positions)
        sampled = _linear(_SAMPLED_CHANNELS, f"{name}_evidence")(sampled).astype(jnp.float32)
        offsets = image_features.reprojection_offset(positions[:, :NUM_KEYPOINTS]) / 32.0
        inputs = (hidden, rotations, 10.0 * positions, sampled, offsets)
        inputs = jnp.concatenate([x.reshape(x.shape[0], -1) for x in inputs], axis=-1)
        return nn.relu(_linear(_HIDDEN, f"{name}_hidden")(inputs))

    def _rigid_motion(self, hidden, name):
        """A rotation and a translation (meters) of each part; they start near the identity."""
        x = nn.Dense(2 * 9, kernel_init=near_zero, name=name)(hidden).reshape(-1, 2, 9)
        return rotation_from_6d(x[..., :6]), self.config.position_scale * x[..., 6:]


def _move(points, rotations, offsets):
    part = layout.PART_OF_TOKEN
    return (rotations[:, part] * points[..., None, :]).sum(-1) + offsets[:, part]


def _linear(features, name):
    return nn.Dense(features, kernel_init=torch_linear, name=name)
