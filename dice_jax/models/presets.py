"""Ready-made networks, as the `model` section of a configuration. Every field is explained in `config`."""

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
  return _to_config_dict(ModelConfig())


def small() -> ConfigDict:
  """The default: EfficientNet-Lite0 and narrow transformers, for a CPU; 7 M parameters.

  It departs from the paper where that helps a small network trained from scratch: fixed up-sampling, offsets from
  the template, IKNets that see centred meshes and put out continuous rotations, and a camera read off the image.
  """
  return _to_config_dict(ModelConfig(
    backbone=BackboneConfig(
      name="efficientnet_lite0", width=1.0, features=1280, frozen_stages=3, frozen_batch_norm=True,
      pretrained="imagenet"),
    mesh_net=MeshNetConfig(_encoders((128, 64, 32), (64, 32), layers=(2, 1, 1)), template_residual=True),
    interaction_net=InteractionNetConfig(64, _encoders((64, 32), (32,), layers=(1, 1))),
    upsampling=UpsamplingConfig(learned=False),
    hand_ik=_ik(hidden=384, level=1, base_orient=PALM_TO_FACE),
    head_ik=_ik(hidden=384, level=2, base_orient=FRONTAL_HEAD),
    camera=CameraConfig(source="image"),
    presence_hidden=(128, 64),
  ))  # fmt: skip


def tiny() -> ConfigDict:
  """For tests: every part of `small`, as thin as it gets, from random weights."""
  encoders = lambda **sizes: EncodersConfig(feed_forward=32, heads=2, attention_dropout=0.0, **sizes)
  return _to_config_dict(ModelConfig(
    backbone=BackboneConfig(name="efficientnet_lite0", width=0.25, depth=1, features=64),
    mesh_net=MeshNetConfig(encoders(hidden=(32, 16, 16), outputs=(16, 16), layers=(1, 1, 1)), template_residual=True),
    interaction_net=InteractionNetConfig(16, encoders(hidden=(16, 16), outputs=(16,), layers=(1, 1))),
    upsampling=UpsamplingConfig(learned=False),
    hand_ik=_ik(hidden=32, level=1, base_orient=PALM_TO_FACE),
    head_ik=_ik(hidden=32, level=2, base_orient=FRONTAL_HEAD),
    camera=CameraConfig(source="image", hidden=32),
    presence_hidden=(32, 16),
  ))  # fmt: skip


def _encoders(hidden, outputs, layers):
  return EncodersConfig(
    hidden, outputs, layers, feed_forward=256, heads=2, attention_dropout=0.0, output_std=0.002)  # fmt: skip


def _ik(**fields):
  return IKNetConfig(center_inputs=True, orientation="6d", **fields)


def _to_config_dict(config: ModelConfig) -> ConfigDict:
  return ConfigDict(dataclasses.asdict(config))
