"""The configuration of a run, stored as `config.json` beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.models import ModelConfig
from dice_jax.untrusted_files import kinds

CONFIG_FILE = "config.json"
_MAX_SIZE = 2**20  # bytes; the largest of this package has 5,000
_MAX_DEPTH = 8


def save_config(folder: str | Path, config: ConfigDict) -> None:
    """Writes `folder/config.json` atomically."""
    atomic.write_text(Path(folder) / CONFIG_FILE, json.dumps(config.to_dict(), indent=2) + "\n")


def load_config(folder: str | Path) -> ConfigDict:
    """Reads `folder/config.json`. The lists of JSON become tuples, as in the configuration.

    The sections that a network is built from are checked: types, ranges and rules of every field.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is not a configuration; one line with the path of the field at fault.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: {folder} is neither exported weights nor the workdir of a training"
        )
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSON's and UTF-8's errors are ValueErrors
        raise UserError(
            kinds.refusal(path, "a configuration in JSON", error, "get it again", "json")
        ) from None
    try:
        _check(content)
        return ConfigDict(_with_tuples(content))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


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


def _no_constant(name: str) -> None:
    raise ValueError(f"it contains {name}")


def _check(content: Any) -> None:
    """Checks the sections that are read from a file: the network, the body models, the data."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object with fields")
    _check_names(content, "the configuration", depth=0)
    for section in ("model", "body_models", "data", "losses", "optimizer"):
        if not isinstance(content.get(section, {}), dict):
            raise ValueError(f"{section} is {content[section]!r:.40}, not an object with fields")
    for name, value in content.get("body_models", {}).items():
        if not isinstance(value, str | None):
            raise ValueError(f"body_models.{name} is {value!r:.40}, not the name of a model")
    for name in ("name", "dir", "priors", "prior_shares"):
        value = content.get("data", {}).get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"data.{name} is {value!r:.40}, not text")
    if not isinstance(content.get("data", {}).get("sizes", {}), dict):
        raise ValueError("data.sizes is not an object with fields")
    if "model" in content:
        ModelConfig.from_dict(content["model"])


def _check_names(content: Any, path: str, depth: int) -> None:
    """Checks the names and the nesting, which a `ConfigDict` limits."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path} is nested deeper than {_MAX_DEPTH} levels")
    entries = content.items() if isinstance(content, dict) else ()
    for name, value in entries:
        if "." in name or name.startswith("_") or hasattr(ConfigDict, name):
            raise ValueError(f"{path} has no field {name!r:.40}")
        _check_names(value, f"{path}.{name}" if depth else name, depth + 1)
    for value in content if isinstance(content, list) else ():
        _check_names(value, path, depth + 1)


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
