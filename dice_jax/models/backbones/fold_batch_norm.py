"""Batch norm folded into the convolutions before it: the same HRNet at inference, with fewer passes
over memory.

At inference a norm multiplies each channel by a constant and adds another. Both can be taken into
the kernel and the bias of the convolution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Float

from dice_jax.array_types import Array

_EPSILON = 1e-5  # of HRNet's batch norm


class IdentityNorm(nn.Module):
    """What is left of a norm: nothing."""

    dtype: jnp.dtype = jnp.float32

    def __call__(self, x: Float[Array, "*B"]) -> Float[Array, "*B"]:
        return x


def fold(module: nn.Module, variables: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Folds the batch norms of a network's HRNet.

    Args:
        module: `DICE`. One with another backbone, or folded already, is returned as it is.
        variables: its variables; not changed.

    Returns:
        The module and variables that give the same answers at inference. They cannot be trained on.
    """
    backbone = module.config.backbone
    if backbone.name != "hrnet" or backbone.folded:
        return module, dict(variables)
    params = {**variables["params"]}
    params["backbone"] = fold_norms(params["backbone"], variables["batch_stats"]["backbone"])
    statistics = {
        name: tree for name, tree in variables["batch_stats"].items() if name != "backbone"
    }
    config = dataclasses.replace(module.config, backbone=dataclasses.replace(backbone, folded=True))
    return module.clone(config=config), {**variables, "params": params, "batch_stats": statistics}


def fold_norms(params: Mapping[str, Any], statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an `HRNet` with `folded` set, from those of one without and its running
    statistics.
    """
    flat = traverse_util.flatten_dict(params, sep="/")
    for norm in traverse_util.flatten_dict(
        statistics, sep="/", is_leaf=lambda _, tree: "mean" in tree
    ):
        scope, _, name = norm.rpartition("/")
        conv = f"{scope}/{name.replace('bn', 'conv')}".lstrip("/")
        mean, variance = (_at(statistics, norm)[key] for key in ("mean", "var"))
        factor = flat.pop(f"{norm}/scale") / jnp.sqrt(variance + _EPSILON)
        shift = flat.pop(f"{norm}/bias") + (flat.get(f"{conv}/bias", 0.0) - mean) * factor
        flat[f"{conv}/kernel"], flat[f"{conv}/bias"] = flat[f"{conv}/kernel"] * factor, shift
    return traverse_util.unflatten_dict(flat, sep="/")


def _at(tree, path):
    for name in path.split("/"):
        tree = tree[name]
    return tree
