"""The paper: HRNet-W64, 40 epochs, AdamW at 6e-4 falling to a tenth half-way, the losses of its equations.

  python -m dice_jax.train --config=configs/full.py --workdir=runs/full

Meant for 8 accelerators with the whole of Decaf; the paper trained 48 h on 8 A6000. On the open scenes an epoch is
12,000 pictures, 750 steps.
"""

import dataclasses

from ml_collections import ConfigDict

from configs import default
from dice_jax.losses import presets as losses
from dice_jax.models import presets as models


def get_config() -> ConfigDict:
  config = default.get_config()
  config.total_steps = 40 * 750
  config.burn_in_steps = 2 * 750
  config.ema_decay = 0.0
  config.model = models.full()
  config.losses = ConfigDict(dataclasses.asdict(losses.PAPER))
  config.optimizer.learning_rate = 6e-4
  config.optimizer.discriminator_learning_rate = 6e-4
  config.optimizer.schedule = "step"
  config.optimizer.warmup_steps = 0
  config.optimizer.clip_by_global_norm = 0.0
  config.optimizer.clip_by_value = 0.015  # the authors' 0.3, at our scale of the losses
  return config
