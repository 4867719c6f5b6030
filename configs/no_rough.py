"""The paper's ablation "without supervision on V_F', V_H'" (Table 3): nothing tells the rough meshes where to be.

  python -m dice_jax.train --config=configs/no_rough.py --workdir=runs/no_rough
  python -m dice_jax.train --config=configs/no_rough.py:small --workdir=runs/no_rough_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. `tools/run_ablations.py` trains such rows with one budget and tabulates them. In the paper PVE* 12.2 against
8.32 mm; not trained by us at that scale.
"""

from ml_collections import ConfigDict

from configs import bases


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.losses.rough = 0.0
  return config
