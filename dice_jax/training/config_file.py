"""The configuration of a run as `config.json` beside its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dice_jax.errors import UserError

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
    raise FileNotFoundError(f"{path} is missing: {folder} is neither exported weights nor the workdir of a training")
  try:
    return ConfigDict(_with_tuples(json.loads(path.read_text())))
  except json.JSONDecodeError as error:
    raise ValueError(f"{path} is not JSON ({error})") from error


def check_same_network(workdir: str | Path, config: ConfigDict) -> None:
  """Refuses to go on with the run in `workdir` with another network than it began with.

  Raises:
    UserError: naming the fields of `model` that differ.
  """
  saved = dict(_leaves(load_config(workdir).model, "model"))
  asked = dict(_leaves(config.model, "model"))
  differing = [
    f"{name} ({saved.get(name)} there, {asked.get(name)} now)"
    for name in sorted(saved | asked)
    if name not in saved or name not in asked or saved[name] != asked[name]
  ]
  if differing:
    raise UserError(f"{workdir} holds a run of another network: {', '.join(differing)}; take another workdir")


def _leaves(config: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _leaves(value, f"{prefix}.{name}")
    else:
      yield f"{prefix}.{name}", tuple(value) if isinstance(value, list) else value


def _with_tuples(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {key: _with_tuples(value) for key, value in tree.items()}
  return tuple(_with_tuples(value) for value in tree) if isinstance(tree, list) else tree
