"""DICE with a single branch, an ablation of the paper's Table 3."""

from __future__ import annotations

from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.interaction_net import (
    NUM_OUTPUTS,
    InteractionNetOutput,
    upsample_interaction,
)
from dice_jax.models.layers.as_module import AsModule
from dice_jax.models.mesh_net import MeshNet, MeshNetOutput
from dice_jax.models.network import Network
from dice_jax.structs import Detections, Intrinsics, NetworkOutput


class SingleBranch(Network):
    """One transformer for positions, deformation and contact; parameters from IKNets."""

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
        image = self.encode_image(images, queries, detections, intrinsics, train=train)
        tokens = self.make_tokens(image, queries, train=train)
        mesh_net = MeshNet(
            self.config.mesh_net, **self.mesh_fields, extra=NUM_OUTPUTS, name="mesh_net"
        )
        mesh = mesh_net(tokens, image.features, image.evidence, train=train)
        interaction = interaction_of(self, mesh)
        params = self.regress_params(mesh, image.evidence_features, train=train)
        return NetworkOutput(
            rough=mesh.rough,
            hand_params=params.hand,
            head_params=params.head,
            head_root=params.head_root,
            camera=self.regress_camera(image, mesh.positions),
            deformations=interaction.deformations,
            contact_logits=interaction.contact_logits,
            presence_logit=self.presence_logit(image),
            hand_presence_logit=self.hand_presence_logit(image),
            hand_depth_sigma=mesh.hand_depth_sigma,
            heatmaps=image.heatmaps,
        )


def interaction_of(network: Network, mesh: MeshNetOutput) -> InteractionNetOutput:
    """Deformation and contact from MeshNet's extra outputs, in place of an `InteractionNet`."""
    return upsample_outputs(network, mesh.extra)


def upsample_outputs(network: Network, outputs: Float[Array, "B 843 4"]) -> InteractionNetOutput:
    """Deformation and contact of full meshes from those of the tokens."""
    return AsModule(upsample_interaction, name="interaction_net")(
        outputs,
        network.config.interaction_net.deformation_scale,
        network.config.upsampling,
        network.hand_levels,
        network.head_levels,
    )
