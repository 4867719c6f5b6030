"""Trained weights as files that any tool can read: `weights.npz` and `config.json`.

The archive holds one array a weight under its path, "params/backbone/stem/kernel" or
"batch_stats/...". The configuration is the training configuration in JSON; its `model` part alone
rebuilds the network.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dice_jax.checkpoints import config_file, orbax_checkpoints

WEIGHTS_FILE = "weights.npz"


def save_weights(
    folder: str | Path,
    variables: Mapping[str, Any],
    config: ConfigDict,
    *,
    half_precision: bool = False,
) -> None:
    """Writes `folder/weights.npz` and `folder/config.json`.

    Args:
        folder: created when absent.
        variables: nested arrays, {"params": ..., "batch_stats": ...}.
        config: the configuration that built and trained the network.
        half_precision: store matrices as float16 (half the size). Vectors, such as the statistics
            of batch norm, whose range float16 may not hold, stay float32.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flat = {
        name: np.asarray(value)
        for name, value in traverse_util.flatten_dict(variables, sep="/").items()
    }
    if half_precision:
        flat = {
            name: value.astype(np.float16) if value.ndim > 1 else value
            for name, value in flat.items()
        }
    with (folder / WEIGHTS_FILE).open("wb") as file:
        np.savez(file, **flat)
    config_file.save_config(folder, config)


def load_weights(folder: str | Path) -> tuple[dict[str, Any], ConfigDict]:
    """Reads an export folder or, from its newest checkpoint, the workdir of a training run.

    Returns:
        Variables ({"params": ..., "batch_stats": ...}, float32, NumPy) and the configuration.

    Raises:
        FileNotFoundError: `folder` holds neither.
        ValueError: a file is damaged.
    """
    folder = Path(folder)
    config = config_file.load_config(folder)
    if not (folder / WEIGHTS_FILE).exists():
        return orbax_checkpoints.restore_weights(folder), config
    try:
        with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as archive:
            flat = {name: archive[name].astype(np.float32) for name in archive.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"{folder / WEIGHTS_FILE} is damaged ({error}): fetch or export it again"
        ) from error
    return traverse_util.unflatten_dict(flat, sep="/"), config


def check_weights(
    variables: Mapping[str, Any], expected: Mapping[str, Any], source: str | Path = "the weights"
) -> None:
    """Compares names and shapes with what the network wants.

    Args:
        variables: from `load_weights`.
        expected: the same nesting of anything with a `shape`, for example `jax.eval_shape` of the
            network's `init`.
        source: how to call the weights in the message.

    Raises:
        ValueError: naming the first missing, unknown or mis-shaped weight and how many there are of
            that kind.
    """
    got = traverse_util.flatten_dict(variables, sep="/")
    want = traverse_util.flatten_dict(expected, sep="/")
    missing = [name for name in want if name not in got]
    unknown = [name for name in got if name not in want]
    misshaped = [
        name for name in want if name in got and tuple(got[name].shape) != tuple(want[name].shape)
    ]
    if missing:
        raise ValueError(
            f"{source}: {len(missing)} of {len(want)} weights are missing, first {missing[0]}"
        )
    if misshaped:
        name = misshaped[0]
        shapes = f"{tuple(got[name].shape)}, the network wants {tuple(want[name].shape)}"
        raise ValueError(
            f"{source}: {len(misshaped)} weights have another shape, first {name}: {shapes}"
        )
    if unknown:
        raise ValueError(
            f"{source}: {len(unknown)} weights are unknown to the network, first {unknown[0]}"
        )
