"""The network (paper sec. 3.1, fig. 2): one image in, everything before the body models out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, head_landmarks
from dice_jax.body_models.hierarchy import downsample
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import hand_keypoints
from dice_jax.models import baselines
from dice_jax.models.backbones.efficientnet import EfficientNetLite0
from dice_jax.models.backbones.hrnet import HRNet
from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.models.heads import CameraHead, PresenceHead
from dice_jax.models.ik_net import HandIKNet, HeadIKNet
from dice_jax.models.interaction_net import InteractionNet
from dice_jax.models.layers.tokens import TokenUpsampling
from dice_jax.models.mesh_aligned import FineMap, Heatmaps, View, expected_keypoints
from dice_jax.models.mesh_net import MeshNet
from dice_jax.models.preprocess import rgb_to_bgr
from dice_jax.models.upsampling import MeshLevels
from dice_jax.structs import NetworkOutput, RoughMeshes


class DICE(nn.Module):
    """From a normalized crop to rough meshes, parameters, deformations, contacts and camera.

    Deterministic unless `train`, which needs random streams "dropout" and "mask". Batch norm keeps
    its statistics in the collection "batch_stats". Over the devices along `axis_name` it averages,
    and dropout tells samples apart.
    """

    config: ModelConfig
    hand_levels: MeshLevels
    head_levels: MeshLevels
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "B 224 224 3"], queries: Float[Array, "843 3"], *, train: bool
    ) -> NetworkOutput:
        """Runs the network.

        Args:
            images: RGB, from `preprocess`.
            queries: from `template_queries`.
            train: mask tokens, drop out, and use the batch's own statistics where they are not
                frozen.

        Returns:
            The output, float32. `decode` poses the body models with it.
        """
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        meshes = (c.upsampling, self.hand_levels, self.head_levels, dtype, self.axis_name)

        images = rgb_to_bgr(images) if c.channels == "bgr" else images
        backbone = make_backbone(c.backbone, dtype, self.axis_name)
        camera_head, view = CameraHead(c.camera, name="camera"), None
        if c.fine_features:
            features, levels = backbone(images, train=train, with_levels=True)
            fine_map = FineMap(c.fine_features, dtype, name="fine_map")(levels)
        else:
            features = backbone(images, train=train)
        grid = features.reshape(len(features), -1, features.shape[-1])
        if c.camera.source == "image":
            camera = camera_head(None, grid)
        if c.fine_features:
            heatmaps = Heatmaps(name="heatmaps")(fine_map)
            view = View(fine_map, expected_keypoints(heatmaps), camera)
        if c.regressor == "mesh":
            tokens = grid
            if c.mesh_net.attention == "tokens":
                tokens = TokenUpsampling(c.masking, name="token_upsampling")(
                    grid, queries, train=train
                )
            extra = 4 if c.interaction_net.shared else 0
            positions, rough, shared, turns = MeshNet(c.mesh_net, *meshes, extra, name="mesh_net")(
                tokens, view, train=train
            )
            interaction_net = InteractionNet(c.interaction_net, *meshes, name="interaction_net")
            deformations, contact_logits = interaction_net(
                shared if extra else tokens,
                positions - head_center(rough.head_vertices)[:, None],
                view,
                train=train,
            )
            hand, head = _hand_levels(rough)[c.hand_ik.level], _head_levels(rough)[c.head_ik.level]
        else:
            positions, rough, deformations, contact_logits = baselines.no_meshes(len(grid))
            hand = head = grid.mean(1).astype(jnp.float32)
            turns = None

        head_root = None
        if c.parametric:
            center = head_center(rough.head_vertices)
            hand_turn, head_turn = (None, None) if turns is None else (turns[:, 0], turns[:, 1])
            hand_ik = HandIKNet(c.hand_ik, self.axis_name, name="hand_ik")
            head_ik = HeadIKNet(c.head_ik, self.axis_name, name="head_ik")
            hand_params = hand_ik(hand, center, hand_turn, train=train)
            head_params, head_root = head_ik(head, center, head_turn, train=train)
        else:
            hand_params, head_params = baselines.no_parameters(len(grid))

        return NetworkOutput(
            rough=rough,
            # Only t_hand - t_head can be seen in head-centerd meshes: it becomes the hand's
            # translation.
            hand_params=hand_params.replace(transl=hand_params.transl - head_params.transl),
            head_params=head_params.replace(transl=jnp.zeros_like(head_params.transl)),
            camera=camera if c.camera.source == "image" else camera_head(positions, grid),
            deformations=deformations,
            contact_logits=contact_logits,
            presence_logit=PresenceHead(c.presence_hidden, name="presence")(grid),
            head_root=head_root,
            heatmaps=heatmaps if c.fine_features else None,
            parametric=c.parametric,
        )


def make_backbone(
    config: BackboneConfig, dtype: jnp.dtype = jnp.float32, axis_name: str | None = None
) -> nn.Module:
    """The backbone that a configuration asks for, named "backbone"."""
    kinds = {"hrnet": HRNet, "efficientnet_lite0": EfficientNetLite0}
    return kinds[config.name](config, dtype, axis_name, name="backbone")


def create_model(
    config: ModelConfig | Mapping[str, Any],
    hand_model: BodyModel,
    head_model: BodyModel,
    *,
    axis_name: str | None = None,
) -> tuple[DICE, Float[Array, "843 3"]]:
    """Builds the network for a pair of body models.

    Args:
        config: a `ModelConfig`, or the `model` section of an ml_collections configuration (see
            `presets`).
        hand_model, head_model: give the template and the coarse meshes.
        axis_name: mapped axis (`pmap`) of the devices that train together, see `DICE`.

    Returns:
        The module, which may be a static argument of `jit`, and the queries that it takes.

    Raises:
        ValueError: an unknown field or choice in the configuration.
    """
    if not isinstance(config, ModelConfig):
        config = ModelConfig.from_dict(config)
    module = DICE(
        config, MeshLevels(hand_model.hierarchy), MeshLevels(head_model.hierarchy), axis_name
    )
    if config.query_tip_ids:
        hand_model = hand_model.replace(tip_ids=jnp.array(config.query_tip_ids))
    return module, template_queries(hand_model, head_model)


def template_queries(hand_model: BodyModel, head_model: BodyModel) -> Float[Array, "843 3"]:
    """Positions of all tokens on the templates at rest, meters, in the body models' own axes.

    Hand and head are each centerd on the mean of their coarsest vertices. Order: 21 hand keypoints
    (OpenPose), 68 head landmarks, 195 hand vertices, 559 head vertices.
    """
    hand_vertices = downsample(hand_model.hierarchy, hand_model.v_template, 1)
    head_vertices = downsample(head_model.hierarchy, head_model.v_template, 2)
    hand_center, head_center = hand_vertices.mean(0), head_vertices.mean(0)
    return jnp.concatenate(
        [
            hand_keypoints(hand_model, hand_model.v_template) - hand_center,
            head_landmarks(head_model, head_model.v_template) - head_center,
            hand_vertices - hand_center,
            head_vertices - head_center,
        ]
    )


def _hand_levels(rough: RoughMeshes):
    return rough.hand_vertices, rough.hand_vertices_coarse


def _head_levels(rough: RoughMeshes):
    return rough.head_vertices, rough.head_vertices_mid, rough.head_vertices_coarse
