"""Batch norm folded into the convolutions before it: a faster HRNet with the same output.

At inference a norm multiplies each channel by a constant and adds another. Both constants can be
part of the kernel and the bias of the convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array

EPSILON = 1e-5  # of HRNet's batch norm


class IdentityNorm(nn.Module):
    """Takes the place of a batch norm that is folded into the convolution before it."""

    dtype: DTypeLike = jnp.float32

    def __call__(self, x: Float[Array, "*B"]) -> Float[Array, "*B"]:
        return x


def fold(module: nn.Module, variables: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Folds the batch norms of a network's HRNet.

    Args:
        module: a `Network`. One with another backbone, or folded already, is returned unchanged.
        variables: its variables; they are not changed in place.

    Returns:
        A module and variables with the same output at inference. They cannot be trained.
    """
    if module.config.backbone.name != "hrnet" or module.fold_batch_norm:
        return module, dict(variables)
    params, statistics = {**variables["params"]}, {**variables["batch_stats"]}
    params["backbone"] = fold_norms(params["backbone"], statistics.pop("backbone"))
    folded = {**variables, "params": params, "batch_stats": statistics}
    return module.clone(fold_batch_norm=True), folded


def fold_norms(params: Mapping[str, Any], statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an `HRNet` with `fold_batch_norm`.

    Args:
        params: of an `HRNet` without it.
        statistics: its running means and variances.
    """
    flat = cast(dict[str, Array], traverse_util.flatten_dict(params, sep="/"))
    running = cast(dict[str, Array], traverse_util.flatten_dict(statistics, sep="/"))
    for norm in (name.removesuffix("/mean") for name in running if name.endswith("/mean")):
        scope, _, name = norm.rpartition("/")
        conv = f"{scope}/{name.replace('bn', 'conv')}".lstrip("/")
        factor = flat.pop(f"{norm}/scale") / jnp.sqrt(running[f"{norm}/var"] + EPSILON)
        kernel, bias = flat[f"{conv}/kernel"], flat.get(f"{conv}/bias", jnp.zeros_like(factor))
        flat[f"{conv}/kernel"] = kernel * factor[None, None, None]
        flat[f"{conv}/bias"] = flat.pop(f"{norm}/bias") + (bias - running[f"{norm}/mean"]) * factor
    return traverse_util.unflatten_dict(flat, sep="/")
