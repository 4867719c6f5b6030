"""Ready-made networks, as the `model` section of a configuration. Every field is explained in
`config`.
"""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from dice_jax.models.config import (
    FRONTAL_HEAD,
    PALM_TO_FACE,
    BackboneConfig,
    CameraConfig,
    EncodersConfig,
    IKNetConfig,
    InteractionNetConfig,
    MeshNetConfig,
    ModelConfig,
    UpsamplingConfig,
)


def full() -> ConfigDict:
    """The paper's network: HRNet-W64, 240 M parameters."""
    return as_config_dict(ModelConfig())


def release() -> ConfigDict:
    """The network that the authors released, with all that its weights expect; see
    `tools/convert_official.py`.
    """
    return as_config_dict(release_config())


def release_config() -> ModelConfig:
    """As `release`, before it becomes a section of a configuration."""
    return ModelConfig(
        mesh_net=MeshNetConfig(keypoint_order="mano"),
        hand_ik=IKNetConfig(variant="release"),
        head_ik=IKNetConfig(variant="release", level=1, turns_root=True),
        camera=CameraConfig(variant="release"),
        channels="bgr",
        query_tip_ids=(
            745,
            317,
            445,
            556,
            673,
        ),  # of manopth, thumb to little finger; smplx has others
        gate_contact=False,
    )


def small() -> ConfigDict:
    """The default: EfficientNet-Lite0 and narrow transformers, for a CPU; 7 M parameters.

    It departs from the paper where that helps a small network trained from scratch: fixed
    up-sampling, offsets from a template that is placed as the image says, meshes that look into a
    finer map of the image where they land (PyMAF), IKNets that see centerd meshes and put out
    continuous rotations, and a camera read off the image.
    """
    return as_config_dict(
        ModelConfig(
            backbone=BackboneConfig(
                name="efficientnet_lite0",
                width=1.0,
                features=1280,
                frozen_stages=3,
                frozen_batch_norm=True,
                pretrained="imagenet",
            ),
            mesh_net=MeshNetConfig(
                _encoders((128, 64, 32), (64, 32), layers=(1, 1, 1)),
                template_residual=True,
                template_placed=True,
                refinements=2,
                position_scale=0.1,
            ),
            interaction_net=InteractionNetConfig(
                64,
                _encoders((64, 32), (32,), layers=(1, 1)),
                sees_meshes=True,
                sees_image=True,
                deformation_scale=0.01,
            ),
            fine_features=64,
            upsampling=UpsamplingConfig(learned=False),
            hand_ik=_ik(hidden=384, level=1, zero_orient=PALM_TO_FACE),
            head_ik=_ik(hidden=384, level=2, zero_orient=FRONTAL_HEAD),
            camera=CameraConfig(source="image", output_scale=0.1),
            presence_hidden=(128, 64),
            masking=0.1,
        )
    )


def tiny() -> ConfigDict:
    """For tests: every part of `small`, as thin as it gets, from random weights."""
    encoders = lambda **sizes: EncodersConfig(
        feed_forward=32, heads=2, attention_dropout=0.0, **sizes
    )
    return as_config_dict(
        ModelConfig(
            backbone=BackboneConfig(name="efficientnet_lite0", width=0.25, depth=1, features=64),
            mesh_net=MeshNetConfig(
                encoders(hidden=(32, 16, 16), outputs=(16, 16), layers=(1, 1, 1)),
                template_residual=True,
                template_placed=True,
                refinements=1,
                position_scale=0.1,
            ),
            interaction_net=InteractionNetConfig(
                16,
                encoders(hidden=(16, 16), outputs=(16,), layers=(1, 1)),
                sees_meshes=True,
                sees_image=True,
                deformation_scale=0.01,
            ),
            fine_features=8,
            upsampling=UpsamplingConfig(learned=False),
            hand_ik=_ik(hidden=32, level=1, zero_orient=PALM_TO_FACE),
            head_ik=_ik(hidden=32, level=2, zero_orient=FRONTAL_HEAD),
            camera=CameraConfig(source="image", hidden=32, output_scale=0.1),
            presence_hidden=(32, 16),
        )
    )


def single_branch(model: ConfigDict) -> ConfigDict:
    """The paper's ablation: deformation and contact come from MeshNet's encoders. Like the next
    three, takes a network above and makes a baseline of the same size of it.
    """
    model.interaction_net.shared = True
    model.interaction_net.sees_meshes = model.interaction_net.sees_image = False
    return model


def metro(model: ConfigDict) -> ConfigDict:
    """METRO*: one transformer, heads for deformation and contact, and the rough meshes as the
    answer.
    """
    model.parametric = False
    return single_branch(model)


def fastmetro(model: ConfigDict) -> ConfigDict:
    """FastMETRO*: as METRO*, with learned tokens that look at the image by cross-attention."""
    model.mesh_net.attention = "cross"
    model.mesh_net.template_residual = model.mesh_net.template_placed = False
    model.mesh_net.refinements = model.fine_features = 0
    return metro(model)


def pixie_r(model: ConfigDict) -> ConfigDict:
    """PIXIE-R: the parameters straight from the image features; no rough meshes, no deformation, no
    contact.
    """
    model.regressor = "image"
    model.camera.source = "image"
    model.mesh_net.template_placed = model.interaction_net.sees_image = False
    model.mesh_net.refinements = model.fine_features = 0
    model.hand_ik.center_inputs = model.head_ik.center_inputs = False
    return model


def _encoders(hidden, outputs, layers):
    return EncodersConfig(
        hidden,
        outputs,
        layers,
        feed_forward=256,
        heads=2,
        dropout=0.0,
        attention_dropout=0.0,
        position_std=0.2,
        output_std=0.002,
    )


def _ik(**fields):
    return IKNetConfig(center_inputs=True, orientation="6d", transl_scale=0.1, **fields)


def as_config_dict(config: ModelConfig) -> ConfigDict:
    """The `model` section that `ModelConfig.from_dict` turns into `config` again."""
    return ConfigDict(dataclasses.asdict(config))
