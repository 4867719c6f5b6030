"""Ready-made networks, as the `model` section of a configuration.

Every field is explained in `config`.
"""

from __future__ import annotations

import dataclasses
import functools

from ml_collections import ConfigDict

from dice_jax.models.config import (
    BackboneConfig,
    CameraConfig,
    EncodersConfig,
    IKNetConfig,
    InteractionNetConfig,
    MeshNetConfig,
    ModelConfig,
)
from dice_jax.models.template import FRONTAL_HEAD, PALM_TO_FACE

# Of the fingers from thumb to little finger, in manopth. Those of smplx are others.
_MANOPTH_TIP_IDS = (745, 317, 445, 556, 673)


def full() -> ConfigDict:
    """The paper's network: HRNet-W64, 240 M parameters.

    The paper does not say how rotations are represented. Zeros stand for a frontal head and a hand
    with its palm to the face, since axis-angle from zero has to cross half a turn.
    """
    six_d = functools.partial(IKNetConfig, orientation="6d")
    return as_config_dict(
        ModelConfig(
            query_pose="mean",
            presence=False,
            hand_ik=six_d(zero_orient=PALM_TO_FACE),
            head_ik=six_d(level=1, zero_orient=FRONTAL_HEAD),
        )
    )


def release() -> ConfigDict:
    """The network of the authors' weights, see `python -m dice_jax.tools.convert_official`."""
    return as_config_dict(release_config())


def release_config() -> ModelConfig:
    """As `release`, but as a dataclass."""
    return ModelConfig(
        mesh_net=MeshNetConfig(keypoint_order="mano"),
        hand_ik=IKNetConfig(variant="release"),
        head_ik=IKNetConfig(variant="release", level=1, turns_root=True),
        camera=CameraConfig(variant="release"),
        channels="bgr",
        query_tip_ids=_MANOPTH_TIP_IDS,
        gate_contact=False,
    )


def small() -> ConfigDict:
    """The default: EfficientNet-Lite0 and narrow transformers for a CPU, 7 M parameters.

    It departs from the paper where that helps a small network that is trained from scratch: fixed
    up-sampling, offsets from a template that is placed by the image, mesh-aligned image features
    (PyMAF), IKNets with centered meshes and continuous rotations, and a camera from the image.
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
                _encoders((128, 64, 32), (64, 32)),
                template_residual=True,
                template_placed=True,
                refinements=2,
                position_scale=0.1,
                depth_sigma=True,
            ),
            interaction_net=InteractionNetConfig(
                64,
                _encoders((64, 32), (32,)),
                sees_meshes=True,
                sees_image=True,
                deformation_scale=0.01,
            ),
            hand_ik=_ik(hidden=384, level=1, zero_orient=PALM_TO_FACE),
            head_ik=_ik(hidden=384, level=2, zero_orient=FRONTAL_HEAD),
            camera=CameraConfig(source="image", output_scale=0.1),
            upsampling="barycentric",
            fine_features=64,
            evidence_hidden=256,
            hand_presence=True,
            presence_hidden=(128, 64),
            masking=0.1,
        )
    )


def tiny() -> ConfigDict:
    """For tests: every part of `small`, as narrow as possible, from random weights."""
    encoders = lambda hidden, outputs: EncodersConfig(
        hidden, outputs, (1,) * len(hidden), feed_forward=32, heads=2, attention_dropout=0.0
    )
    return as_config_dict(
        ModelConfig(
            backbone=BackboneConfig(name="efficientnet_lite0", width=0.25, depth=1, features=64),
            mesh_net=MeshNetConfig(
                encoders((32, 16, 16), (16, 16)),
                template_residual=True,
                template_placed=True,
                refinements=1,
                position_scale=0.1,
                depth_sigma=True,
            ),
            interaction_net=InteractionNetConfig(
                16,
                encoders((16, 16), (16,)),
                sees_meshes=True,
                sees_image=True,
                deformation_scale=0.01,
            ),
            hand_ik=_ik(hidden=32, level=1, zero_orient=PALM_TO_FACE),
            head_ik=_ik(hidden=32, level=2, zero_orient=FRONTAL_HEAD),
            camera=CameraConfig(source="image", hidden=32, output_scale=0.1),
            upsampling="barycentric",
            fine_features=8,
            evidence_hidden=16,
            hand_presence=True,
            presence_hidden=(32, 16),
        )
    )


# The functions below take a network from above and make an ablation or a baseline of the same size.


def single_branch(model: ConfigDict) -> ConfigDict:
    """The paper's ablation: deformation and contact are further outputs of MeshNet."""
    model.network = "single_branch"
    model.interaction_net.sees_meshes = model.interaction_net.sees_image = False
    return model


def metro(model: ConfigDict) -> ConfigDict:
    """METRO*: one transformer for meshes, deformation and contact, then IKNets."""
    model = single_branch(model)
    model.network = "metro"
    return _image_alone(model)


def fastmetro(model: ConfigDict) -> ConfigDict:
    """FastMETRO*: two networks whose learned tokens attend to their own image features.

    The IKNets see meshes about the origin of the camera: a mesh relative to the head would tell the
    hand's about the head.
    """
    model = metro(model)
    model.network = "fastmetro"
    model.mesh_net.template_residual = model.mesh_net.template_placed = False
    model.mesh_net.refinements = model.fine_features = 0
    model.hand_ik.center_inputs = model.head_ik.center_inputs = False
    return model


def pixie_r(model: ConfigDict) -> ConfigDict:
    """PIXIE-R: parameters, deformation and contact from the mean image feature; no rough meshes."""
    model.network = "pixie_r"
    model.camera.source = "image"
    model.mesh_net.template_placed = model.interaction_net.sees_image = False
    model.mesh_net.refinements = model.fine_features = 0
    model.hand_ik.center_inputs = model.head_ik.center_inputs = False
    return _image_alone(model)


def _image_alone(model: ConfigDict) -> ConfigDict:
    """Without what the default network adds: landmarks as evidence, and doubts."""
    model.mesh_net.depth_sigma = model.hand_presence = False
    model.evidence_hidden = 0
    return model


def _encoders(hidden, outputs):
    return EncodersConfig(
        hidden,
        outputs,
        (1,) * len(hidden),
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
    """The `model` section of a configuration; `ModelConfig.from_dict` is its inverse."""
    return ConfigDict(dataclasses.asdict(config))
