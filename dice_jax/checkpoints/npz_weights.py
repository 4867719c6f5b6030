"""Trained weights as files that any tool can read: `weights.npz` and `config.json`.

The archive holds one array for each weight, under its path, such as "params/backbone/stem/kernel"
or "batch_stats/...". The JSON file is the training configuration, whose section `model` alone is
enough to rebuild the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dice_jax.checkpoints import config_file, orbax_checkpoints, weight_shapes
from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.untrusted_files import npz

WEIGHTS_FILE = "weights.npz"


def save_weights(
    folder: str | Path,
    variables: Mapping[str, Any],
    config: ConfigDict,
    *,
    half_precision: bool = False,
) -> None:
    """Writes `folder/weights.npz`, `folder/config.json` and, for a network, `folder/shapes.json`.

    Args:
        folder: created when absent.
        variables: nested arrays, {"params": ..., "batch_stats": ...}.
        config: the configuration that built and trained the network.
        half_precision: store matrices as float16 (half the size). Vectors stay float32, because
            statistics of batch norm may exceed the range of float16.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
    flat = {name: np.asarray(value) for name, value in flat.items()}
    if half_precision:
        halved = lambda value: value.astype(np.float16) if value.ndim > 1 else value
        flat = {name: halved(value) for name, value in flat.items()}
    with atomic.atomic_path(folder / WEIGHTS_FILE) as path, path.open("wb") as file:
        np.savez(file, **flat)
    config_file.save_config(folder, config)
    if "model" in config:
        weight_shapes.save_shapes(folder, variables, config.model)


def load_weights(folder: str | Path) -> tuple[dict[str, Any], ConfigDict]:
    """Reads exported weights, or the best checkpoint in the workdir of a run.

    Returns:
        Variables ({"params": ..., "batch_stats": ...}, NumPy arrays of float32) and the
        configuration.

    Raises:
        FileNotFoundError: `folder` holds neither.
        UserError: a file is damaged, or does not hold weights.
    """
    folder = Path(folder)
    config = config_file.load_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists():
        return orbax_checkpoints.restore_weights(folder), config
    return read_variables(path, remedy="download or export it again"), config


def read_variables(path: str | Path, remedy: str) -> dict[str, Any]:
    """Reads nested weights from an archive of arrays named like "params/backbone/stem/kernel".

    Args:
        path: the archive.
        remedy: what to do about a damaged one, for the message.

    Returns:
        The weights, NumPy arrays of float32.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, or an array in it is not of finite floating-point numbers.
    """
    what = "exported weights"
    flat = npz.read_npz(path, others=npz.Array(npz.FLOATS), what=what, remedy=remedy)
    folders = {name[:i] for name in flat for i, letter in enumerate(name) if letter == "/"}
    if both := sorted(folders & set(flat)):
        raise UserError(f"{path}: {both[0]} is an array and a folder of arrays; {remedy}")
    with np.errstate(over="ignore"):  # becomes infinite, which `check_weights` reports
        flat = {name: value.astype(np.float32) for name, value in flat.items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def check_weights(
    variables: Mapping[str, Any], expected: Mapping[str, Any], source: str | Path = "the weights"
) -> None:
    """Checks that names, shapes and values are those of the network.

    Args:
        variables: from `load_weights`.
        expected: the same nesting of anything with a `shape`, for example `jax.eval_shape` of the
            network's `init`.
        source: name of the weights for the message.

    Raises:
        ValueError: weights are missing, unknown, have another shape or are not finite; the message
            names the first one and the number of them.
    """
    found: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
    wanted: dict[str, Any] = traverse_util.flatten_dict(expected, sep="/")
    shape = lambda array: tuple(array.shape)
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    misshaped = [
        name for name in wanted if name in found and shape(found[name]) != shape(wanted[name])
    ]
    if missing:
        raise ValueError(
            f"{source}: {len(missing)} of {len(wanted)} weights are missing, first {missing[0]}"
        )
    if misshaped:
        name = misshaped[0]
        shapes = f"{shape(found[name])}, the network needs {shape(wanted[name])}"
        raise ValueError(
            f"{source}: {len(misshaped)} weights have another shape, first {name}: {shapes}"
        )
    if unknown:
        raise ValueError(
            f"{source}: {len(unknown)} weights are unknown to the network, first {unknown[0]}"
        )
    infinite = [name for name in wanted if not np.isfinite(np.asarray(found[name])).all()]
    if infinite:
        raise ValueError(
            f"{source}: {len(infinite)} weights hold NaN or infinity, first {infinite[0]}"
        )
