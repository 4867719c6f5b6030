"""The configuration of a run as `config.json` beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dice_jax.errors import UserError
from dice_jax.models import ModelConfig

CONFIG_FILE = "config.json"


def save_config(folder: str | Path, config: ConfigDict) -> None:
    """Writes `folder/config.json`, whole or not at all."""
    path = Path(folder) / CONFIG_FILE
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    partial.replace(path)


def load_config(folder: str | Path) -> ConfigDict:
    """Reads `folder/config.json`; lists become tuples, as they were.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: {folder} is neither exported weights nor the workdir of a training"
        )
    try:
        return ConfigDict(_with_tuples(json.loads(path.read_text())))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error


def check_same_network(workdir: str | Path, config: ConfigDict) -> None:
    """Refuses to go on with the run in `workdir` with another network than it began with.

    Raises:
        UserError: naming the fields of `model` that differ.
    """
    # Through `ModelConfig`: a field that is newer than the run has its default.
    saved, asked = (
        dict(_leaves(dataclasses.asdict(ModelConfig.from_dict(model)), "model"))
        for model in (load_config(workdir).model, config.model)
    )
    differing = [
        f"{name} ({saved[name]} there, {asked[name]} now)"
        for name in saved
        if saved[name] != asked[name]
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run of another network: {', '.join(differing)}; take another workdir"
        )


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", value


def _with_tuples(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _with_tuples(value) for key, value in tree.items()}
    return tuple(_with_tuples(value) for value in tree) if isinstance(tree, list) else tree
