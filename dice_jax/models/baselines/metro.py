"""METRO* of the paper's Table 1: METRO (Lin et al. 2021) with heads for deformation and contact.

"*" is the parametric version: IKNets predict the parameters of the body models from its meshes.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.baselines.single_branch import interaction_of
from dice_jax.models.interaction_net import NUM_OUTPUTS
from dice_jax.models.mesh_net import MeshNet
from dice_jax.models.network import BodyParams, Network
from dice_jax.structs import Detections, HandParams, HeadParams, Intrinsics, NetworkOutput


class METRO(Network):
    """One transformer for positions, deformation and contact; IKNets with `config.parametric`."""

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
        """Runs the network, see `Network.__call__`."""
        image = self.encode_image(images, queries, train=train)
        tokens = self.make_tokens(image, queries, train=train)
        mesh_net = MeshNet(
            self.config.mesh_net, **self.mesh_fields, extra=NUM_OUTPUTS, name="mesh_net"
        )
        mesh = mesh_net(tokens, image.features, train=train)
        interaction = interaction_of(self, mesh)
        parametric = self.config.parametric
        params = self.regress_params(mesh, train=train) if parametric else zero_params(images)
        return NetworkOutput(
            rough=mesh.rough,
            hand_params=params.hand,
            head_params=params.head,
            head_root=params.head_root,
            camera=self.regress_camera(image, mesh.positions),
            deformations=interaction.deformations,
            contact_logits=interaction.contact_logits,
            presence_logit=self.presence_logit(image),
            heatmaps=image.heatmaps,
            parametric=parametric,
        )


def zero_params(images: Float[Array, "B 224 224 3"]) -> BodyParams:
    """Zeros in place of the parameters of a network that predicts the rough meshes."""
    zeros = lambda size: jnp.zeros((images.shape[0], size))
    hand = HandParams(*map(zeros, (10, 3, 45, 3)))
    return BodyParams(hand, HeadParams(*map(zeros, (100, 50, 3, 3, 3, 3))))
