"""The paper's ablation "without L_params" (Table 3): the meshes alone teach the parameters.

  python -m dice_jax.train --config=configs/no_params.py --workdir=runs/no_params
  python -m dice_jax.train --config=configs/no_params.py:small --workdir=runs/no_params_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. `tools/run_ablations.py` trains such rows with one budget and tabulates them. In the paper PVE* 10.3 against
8.32 mm; not trained by us at that scale; 300 steps on small.py: configs/README.md.
"""

from ml_collections import ConfigDict

from configs import bases


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.losses.params = 0.0
  return config
