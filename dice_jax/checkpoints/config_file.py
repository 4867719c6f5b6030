"""The configuration of a run, stored as `config.json` beside its weights."""

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
    """Writes `folder/config.json` atomically."""
    path = Path(folder) / CONFIG_FILE
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    partial.replace(path)


def load_config(folder: str | Path) -> ConfigDict:
    """Reads `folder/config.json`. The lists of JSON become tuples, as in the configuration.

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


def check_same_network(workdir: str | Path, model: ConfigDict) -> None:
    """Checks that a run is resumed with the network that it began with.

    Args:
        workdir: folder of the run.
        model: the config section `model`.

    Raises:
        UserError: the networks differ; the message names the fields.
    """
    # Through `ModelConfig`, so that a field added since the run began has its default.
    saved, now = (
        dict(_fields(dataclasses.asdict(ModelConfig.from_dict(section)), "model"))
        for section in (load_config(workdir).model, model)
    )
    differing = [
        f"{name} ({saved[name]} there, {now[name]} now)"
        for name in saved
        if saved[name] != now[name]
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run of another network: {', '.join(differing)}; use another workdir"
        )


def _fields(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """All fields of nested mappings, with dotted names."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", value


def _with_tuples(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _with_tuples(value) for key, value in tree.items()}
    return tuple(_with_tuples(value) for value in tree) if isinstance(tree, list) else tree
