"""The paper's ablation "single branch": one transformer for positions, deformation and contact.

  python -m dice_jax.train --config=configs/single_branch.py --workdir=runs/single_branch
  python -m dice_jax.train --config=configs/single_branch.py:small --workdir=runs/single_branch_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. In the paper the second branch takes PVE* from 9.29 to 8.32 mm; not trained by us at that scale; 300 steps on
small.py: configs/README.md.
"""

from ml_collections import ConfigDict

from configs import bases
from dice_jax.models import presets


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.model = presets.single_branch(config.model)
  return config
