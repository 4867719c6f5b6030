"""The paper's ablation "without in-the-wild data" (Table 3): the studio data alone.

  python -m dice_jax.train --config=configs/no_in_the_wild.py --workdir=runs/no_in_the_wild

Everything else as in configs/full.py, the only recipe with photographs; hardware and time too. In the paper:
PVE* 8.93 mm against 8.32; not trained by us.
"""

from ml_collections import ConfigDict

from configs import bases

PHOTOGRAPHS = "in_the_wild"


def get_config(base: str = "full") -> ConfigDict:
  config = bases.get_config(base)
  parts = config.data.name.split("+")
  kept = [part for part in parts if not part.startswith(PHOTOGRAPHS)]
  if len(kept) == len(parts):
    raise ValueError(f"configs/{base}.py trains on {config.data.name}: there are no photographs to leave out")
  config.data.name = "+".join(kept)
  config.losses.depth = 0.0  # they alone have depth
  return config
