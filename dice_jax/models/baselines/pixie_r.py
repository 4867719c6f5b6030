"""PIXIE-R of the paper's Table 1: parameters regressed from the mean image feature."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import (
    HAND_LEVELS,
    HEAD_LEVELS,
    NUM_HAND_KEYPOINTS,
    NUM_HEAD_KEYPOINTS,
)
from dice_jax.models.baselines.single_branch import upsample_outputs
from dice_jax.models.interaction_net import NUM_OUTPUTS
from dice_jax.models.layers.initializers import near_zero, torch_linear
from dice_jax.models.layers.tokens import NUM_KEYPOINTS, NUM_TOKENS
from dice_jax.models.network import Network
from dice_jax.structs import Detections, Intrinsics, NetworkOutput, RoughMeshes


class PixieR(Network):
    """A backbone, and on its mean feature IKNets and a head for deformation and contact."""

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "B 224 224 3"],
        queries: Float[Array, "843 3"],
        detections: Detections | None = None,
        intrinsics: Intrinsics | None = None,
        *,
        train: bool,
    ) -> NetworkOutput:
        """Runs the network, see `Network.__call__`; it has no use for `queries`.

        Rough meshes are zero.
        """
        image = self.encode_image(images, queries, train=train)
        feature = image.grid.mean(1).astype(jnp.float32)
        origin = jnp.zeros((feature.shape[0], 3))
        outputs = FeatureInteraction(self.config.hand_ik.hidden, name="interaction_head")(feature)
        interaction = upsample_outputs(self, outputs)
        params = self.run_iknets(feature, feature, origin, None, train=train)
        return NetworkOutput(
            rough=zero_meshes(images),
            hand_params=params.hand,
            head_params=params.head,
            head_root=params.head_root,
            camera=self.regress_camera(image, None),
            deformations=interaction.deformations,
            contact_logits=interaction.contact_logits,
            presence_logit=self.presence_logit(image),
            heatmaps=image.heatmaps,
        )


def zero_meshes(images: Float[Array, "B 224 224 3"]) -> RoughMeshes:
    """Zeros in place of the rough meshes."""
    counts = (NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS, *HAND_LEVELS[::-1], *HEAD_LEVELS[::-1])
    return RoughMeshes(*(jnp.zeros((images.shape[0], count, 3)) for count in counts))


class FeatureInteraction(nn.Module):
    """Deformation and contact of each token, in InteractionNet's layout, from an image feature."""

    hidden: int

    @nn.compact
    def __call__(self, feature: Float[Array, "B F"]) -> Float[Array, "B 843 4"]:
        x = nn.relu(nn.Dense(self.hidden, kernel_init=torch_linear, name="hidden")(feature))
        count = NUM_TOKENS - NUM_KEYPOINTS
        x = nn.Dense(count * NUM_OUTPUTS, kernel_init=near_zero, name="output")(x)
        x = x.reshape(x.shape[0], count, NUM_OUTPUTS)
        return jnp.pad(x, ((0, 0), (NUM_KEYPOINTS, 0), (0, 0)))
