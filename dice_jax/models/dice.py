"""DICE (paper sec. 3.1, fig. 2): from one image to everything before the body models."""

from __future__ import annotations

from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.interaction_net import InteractionNet
from dice_jax.models.mesh_net import MeshNet
from dice_jax.models.network import Network
from dice_jax.structs import Detections, Intrinsics, NetworkOutput


class DICE(Network):
    """The paper's network; `decode` poses the body models with its output."""

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
        # Image features from the backbone, and a token for each keypoint and coarse vertex.
        image = self.encode_image(images, queries, detections, intrinsics, train=train)
        tokens = self.make_tokens(image, queries, train=train)

        # Two branches on the same tokens: rough meshes, and deformation with contact.
        mesh_net = MeshNet(self.config.mesh_net, **self.mesh_fields, name="mesh_net")
        mesh = mesh_net(tokens, image.features, image.evidence, train=train)
        interaction_net = InteractionNet(
            self.config.interaction_net, **self.mesh_fields, name="interaction_net"
        )
        interaction = interaction_net(
            tokens, mesh.head_centered_positions, image.features, train=train
        )

        # IKNets: from the rough meshes to the parameters of the body models.
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
