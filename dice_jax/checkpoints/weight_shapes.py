"""Names and shapes of a network's weights, kept beside the weights as `shapes.json`.

With them, weights are checked when they are loaded without tracing the network, which takes
seconds. They are those of one configuration: with another one, they are not believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.untrusted_files import kinds

SHAPES_FILE = "shapes.json"
_MAX_SIZE = 2**22  # bytes; that of the paper's network has 200,000
_MAX_AXES = 8


def save_shapes(folder: str | Path, variables: Mapping[str, Any], model: ConfigDict) -> None:
    """Writes `folder/shapes.json`.

    Args:
        folder: of the weights.
        variables: nested arrays of a network that was trained with them.
        model: the configuration's section `model`.
    """
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
    shapes = {name: list(np.shape(value)) for name, value in flat.items()}
    content = {"model_sha256": _digest(model), "shapes": shapes}
    atomic.write_text(Path(folder) / SHAPES_FILE, json.dumps(content) + "\n")


def load_shapes(folder: str | Path, model: ConfigDict) -> dict[str, Any] | None:
    """Reads `folder/shapes.json`.

    Args:
        folder: of the weights.
        model: the configuration's section `model`.

    Returns:
        Nested `jax.ShapeDtypeStruct`; None where there is no such file, or where it is that of
        another network.

    Raises:
        UserError: the file is damaged.
    """
    path = Path(folder) / SHAPES_FILE
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["model_sha256"] != _digest(model):
            return None
        flat = {name: _shape(sizes) for name, sizes in content["shapes"].items()}
        return traverse_util.unflatten_dict(flat, sep="/")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        remedy = "delete it, and the network itself says its shapes"
        raise UserError(kinds.refusal(path, "a list of shapes", error, remedy, "json")) from None


def _shape(sizes: Any) -> jax.ShapeDtypeStruct:
    numbers = isinstance(sizes, list) and all(type(n) is int and n >= 0 for n in sizes)
    if not numbers or len(sizes) > _MAX_AXES:
        raise ValueError(f"{str(sizes)[:40]} is no shape")
    return jax.ShapeDtypeStruct(tuple(sizes), np.float32)


def _digest(model: ConfigDict) -> str:
    """Of the configuration as it is in JSON, where tuples are lists."""
    text = json.dumps(model.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
