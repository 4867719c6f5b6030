"""PIXIE-R, a baseline of the paper's Table 1: the body models' parameters straight from the image features.

  python -m dice_jax.train --config=configs/pixie_r.py --workdir=runs/pixie_r
  python -m dice_jax.train --config=configs/pixie_r.py:small --workdir=runs/pixie_r_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. In the paper PVE* 11.0 mm; not trained by us at that scale.
"""

from ml_collections import ConfigDict

from configs import bases
from dice_jax.models import presets


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.model = presets.pixie_r(config.model)
  # What it does not regress.
  config.losses.update(heatmaps=0.0, rough=0.0, touch=0.0, contact=0.0, deformation=0.0, deformation_prior=0.0)
  return config
