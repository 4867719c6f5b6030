"""METRO*, a baseline of the paper's Table 1: one transformer with heads for deformation and contact, no body models.

  python -m dice_jax.train --config=configs/metro.py --workdir=runs/metro
  python -m dice_jax.train --config=configs/metro.py:small --workdir=runs/metro_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. In the paper PVE* 11.8 mm; not trained by us at that scale; 300 steps on small.py: configs/README.md.
"""

from ml_collections import ConfigDict

from configs import bases
from dice_jax.models import presets


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.model = presets.metro(config.model)
  config.losses.params = 0.0  # there are none
  config.losses.adversarial = 0.0
  return config
