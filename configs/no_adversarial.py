"""The paper's ablation "without L_adv" (Table 3): no discriminators.

  python -m dice_jax.train --config=configs/no_adversarial.py --workdir=runs/no_adversarial
  python -m dice_jax.train --config=configs/no_adversarial.py:small --workdir=runs/no_adversarial_small

Everything else as in configs/full.py or, after the colon, as in configs/small.py or configs/tiny.py; hardware and time
too. `tools/run_ablations.py` trains such rows with one budget and tabulates them. In the paper PVE* 11.1 against
8.32 mm; not trained by us at that scale; 300 steps on small.py: configs/README.md.
"""

from ml_collections import ConfigDict

from configs import bases


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  config.losses.adversarial = 0.0
  return config
