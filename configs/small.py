"""DICE on the open scenes, small network: the recipe of the weights that come with the package.

  python -m dice_jax.train --config=configs/small.py --workdir=runs/small

EfficientNet-Lite0 backbone from ImageNet. 12,000 pictures of 4000 scenes, built first where they are absent.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  return default.get_config()
