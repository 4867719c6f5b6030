"""The length of a run in updates, from epochs of its data and shares of the run."""

from __future__ import annotations

import math

import jax
from ml_collections import ConfigDict

from dice_jax.errors import UserError


def resolve(config: ConfigDict, samples: int) -> ConfigDict:
    """A copy of a configuration whose batch and lengths are plain numbers.

    `batch_size` is that of all devices together, and `total_steps`, `burn_in_steps` and
    `validate_every` are updates.

    Args:
        config: that `config_check.check` accepts.
        samples: in an epoch of the training split.

    Raises:
        UserError: the run has no length.
    """
    made = ConfigDict(config.to_dict())
    if config.batch_size_per == "device":
        made.batch_size = config.batch_size * jax.device_count()
        made.batch_size_per = "run"
    if config.total_steps <= 0:
        if config.epochs <= 0:
            raise UserError("set total_steps or epochs: both are 0, so the run has no length")
        made.total_steps = max(1, math.ceil(config.epochs * samples / made.batch_size))
    if config.burn_in_steps < 0:
        made.burn_in_steps = round(config.burn_in_share * made.total_steps)
    if config.validate_every < 0:
        every = max(1, round(config.validate_share * made.total_steps))
        made.validate_every = every if config.validate_share else 0
    return made
