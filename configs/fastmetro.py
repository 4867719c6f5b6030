"""FastMETRO*, a baseline of the paper's Table 1: as METRO*, with learned tokens and cross-attention.

  python -m dice_jax.train --config=configs/fastmetro.py --workdir=runs/fastmetro
  python -m dice_jax.train --config=configs/fastmetro.py:small --workdir=runs/fastmetro_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. In the paper PVE* 9.27 mm; not trained by us at that scale.
"""

from ml_collections import ConfigDict

from configs import metro
from dice_jax.models import presets


def get_config(base: str = "full") -> ConfigDict:
  config = metro.get_config(base)
  config.model = presets.fastmetro(config.model)
  config.losses.heatmaps = 0.0  # it has none
  return config
