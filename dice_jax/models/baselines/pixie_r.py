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
    NUM_HEAD_VERTICES,
)
from dice_jax.models.network import Network
from dice_jax.structs import ContactLogits, Detections, Intrinsics, NetworkOutput, RoughMeshes

_NO_CONTACT = -10.0  # a logit


class PixieR(Network):
    """A backbone and IKNets on its mean feature: no meshes, no deformation, no contact."""

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

        Rough meshes and deformations are zero, and no vertex is in contact.
        """
        image = self.encode_image(images, queries, train=train)
        feature = image.grid.mean(1).astype(jnp.float32)
        origin = jnp.zeros((len(feature), 3))
        params = self.run_iknets(feature, feature, origin, None, train=train)
        return NetworkOutput(
            rough=zero_meshes(len(feature)),
            hand_params=params.hand,
            head_params=params.head,
            head_root=params.head_root,
            camera=self.regress_camera(image, None),
            deformations=jnp.zeros((len(feature), NUM_HEAD_VERTICES, 3)),
            contact_logits=no_contact(len(feature)),
            presence_logit=self.presence_logit(image),
            heatmaps=image.heatmaps,
        )


def zero_meshes(batch: int) -> RoughMeshes:
    """Zeros in place of the rough meshes."""
    counts = (NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS, *HAND_LEVELS[::-1], *HEAD_LEVELS[::-1])
    return RoughMeshes(*(jnp.zeros((batch, count, 3)) for count in counts))


def no_contact(batch: int) -> ContactLogits:
    """Logits of a probability near zero at every vertex."""
    counts = (*HAND_LEVELS[::-1], *HEAD_LEVELS[::-1])
    return ContactLogits(*(jnp.full((batch, count), _NO_CONTACT) for count in counts))
