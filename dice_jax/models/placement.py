"""The placement of the template: a rotation and a translation of hand and head from the image.

These six degrees of freedom of each part are the coarse ones, which tokens learn slowly.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center
from dice_jax.body_models.hierarchy import upsample
from dice_jax.models.config import MeshNetConfig
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


class Placement(nn.Module):
    """Places the template of hand and head with a perceptron on the grid of image features.

    Each of `config.refinements` then samples the image where the placed template projects to, and
    corrects the placement. The last of them also deforms the template.
    """

    config: MeshNetConfig
    head_levels: MeshLevels

    @nn.compact
    def __call__(
        self,
        grid: Float[Array, "B 49 C"],
        template: Float[Array, "843 3"],
        image_features: MeshAlignedFeatures | None,
    ) -> tuple[Float[Array, "B 843 3"], Float[Array, "B 2 3 3"]]:
        """Returns the placed template (meters, camera axes) and the rotations of hand and head.

        Args:
            grid: image features.
            template: from `template_in_view`.
            image_features: for `config.refinements`.
        """
        per_cell = nn.Dense(32, kernel_init=torch_linear, name="per_cell")
        x = nn.relu(per_cell(grid.astype(jnp.float32)))
        hidden = nn.relu(_linear(_HIDDEN, "hidden")(x.reshape(len(x), -1)))
        rotations, offsets = self._rigid_motion(hidden, "output")
        template = template[None]
        for i in range(self.config.refinements):
            positions = _move(template, rotations, offsets)
            hidden = self._sample(positions, rotations, hidden, image_features, f"refinement_{i}")
            rotation, offset = self._rigid_motion(hidden, f"refinement_{i}_output")
            rotations, offsets = rotations @ rotation, offsets + offset
        if self.config.refinements:
            bend = nn.Dense(3 * NUM_TOKENS, kernel_init=near_zero, name="bend")(hidden)
            template = template + self.config.position_scale * bend.reshape(-1, NUM_TOKENS, 3)
        return _move(template, rotations, offsets), rotations

    def _sample(self, positions, rotations, hidden, image_features, name):
        """A vector of the current placement and of what the image shows there."""
        hierarchy, coarsest = self.head_levels.hierarchy, self.head_levels.coarsest
        head = upsample(hierarchy, positions[:, layout.HEAD_VERTICES], coarsest, 0)
        positions = (positions - head_center(head)[:, None])[:, _SAMPLED_TOKENS]
        sampled = image_features.sample(positions)
        sampled = _linear(_SAMPLED_CHANNELS, f"{name}_evidence")(sampled).astype(jnp.float32)
        offsets = image_features.reprojection_offset(positions[:, :NUM_KEYPOINTS]) / 32.0
        inputs = (hidden, rotations, 10.0 * positions, sampled, offsets)
        inputs = jnp.concatenate([x.reshape(len(x), -1) for x in inputs], axis=-1)
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
