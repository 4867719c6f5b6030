"""Checks every field of a training configuration before anything is written."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ml_collections import ConfigDict

from dice_jax.errors import UserError
from dice_jax.losses.presets import LossWeights
from dice_jax.models.checked_config import check_value
from dice_jax.models.config import ModelConfig

_MANY = 10**9
_RATE = (0, 10)
_BELOW_1 = (0, 0.999_999_99)
# Type, and least and largest value, of the fields by their paths. A field that is not listed must
# be of the type that it has in the configuration; numbers are finite and from 0 to `_MANY`.
_FIELDS: dict[str, tuple[Any, tuple[float, float]]] = {
    "seed": (int, (0, 2**32 - 1)),
    "total_steps": (int, (0, _MANY)),
    "epochs": (float, (0, 10**6)),
    "batch_size": (int, (1, 65_536)),
    "batch_size_per": (Literal["run", "device"], (0, 0)),
    "accumulate_steps": (int, (1, 65_536)),
    "burn_in_steps": (int, (-1, _MANY)),  # -1: from the share
    "burn_in_share": (float, (0, 1)),
    "ema_decay": (float, _BELOW_1),
    "log_every": (int, (1, _MANY)),
    "validate_every": (int, (-1, _MANY)),
    "validate_share": (float, (0, 1)),
    "checkpoint_every": (int, (0, _MANY)),
    "sheet_every": (int, (0, _MANY)),
    "sheet_samples": (int, (1, 256)),
    "slow_losses_every": (int, (1, _MANY)),
    "keep_checkpoints": (int, (1, 10**6)),
    "data.sizes.train": (int, (0, _MANY)),
    "data.sizes.validation": (int, (0, _MANY)),
    "data.threads": (int, (1, 1024)),
    "data.augmentation.rotation": (float, (0, math.pi)),
    "data.augmentation.scale": (float, (0, 0.9)),
    "data.augmentation.shift": (float, (0, 224)),
    "data.augmentation.color": (float, (0, 1)),
    "data.augmentation.blur": (float, (0, 1)),
    "data.augmentation.noise": (float, (0, 255)),
    "data.augmentation.flip": (float, (0, 1)),
    "data.augmentation.background": (float, (0, 1)),
    "data.augmentation.photometric": (float, (0, 1)),
    "views.yaw": (float, (0, math.pi)),
    "views.pitch": (float, (0, math.pi)),
    "views.roll": (float, (0, math.pi)),
    "views.distance": (float, (0, 3)),
    "views.scale": (float, (0, 3)),
    "views.shift": (float, (0, 224)),
    "optimizer.learning_rate": (float, _RATE),
    "optimizer.discriminator_learning_rate": (float, _RATE),
    "optimizer.backbone_learning_rate_scale": (float, (0, 1000)),
    "optimizer.schedule": (Literal["constant", "cosine", "step"], (0, 0)),
    "optimizer.warmup_steps": (int, (0, _MANY)),
    "optimizer.b1": (float, _BELOW_1),
    "optimizer.b2": (float, _BELOW_1),
    "optimizer.clip_by_value": (float, (0, _MANY)),
    "optimizer.clip_by_global_norm": (float, (0, _MANY)),
    "optimizer.weight_decay": (float, (0, 10)),
}


def check(config: ConfigDict) -> None:
    """Checks types and ranges of all fields.

    Args:
        config: see configs/default.py.

    Raises:
        UserError: in one line, the path of the first field that is wrong, and its range.
    """
    values = config.to_dict()
    try:
        for path, value in _leaves(values):
            share = (float, (0, 1)) if path.startswith("evidence.") else None
            kind, limits = _FIELDS.get(path) or share or (_kind_of(value), (0, _MANY))
            if path.startswith("losses."):
                kind = typing.get_type_hints(LossWeights).get(path.partition(".")[2], kind)
            check_value(kind, value, limits, path)
        ModelConfig.from_dict(values["model"])
    except ValueError as error:
        raise UserError(str(error)) from None


def _kind_of(value: Any) -> Any:
    """The type of a field without an entry: numbers are checked, everything else is left alone."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value)
    return float


def _leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields outside of `model`, which has its own ranges."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            if path or name != "model":
                yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
