"""The baselines of the paper's Table 1, each a function of the name of a base configuration.

Command, on full.py or, after the colon, on small.py, tiny.py or full.py:synthetic:

  python -m dice_jax.train --config=metro --workdir=runs/metro
  python -m dice_jax.train --config=metro:small --workdir=runs/metro_small

Hardware, time and all other fields are those of the base.

Numbers: of 300 steps on small.py in configs/README.md; none at the paper's scale.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from dice_jax.configs.ablations import base_config
from dice_jax.models import presets


def metro(base: str = "full") -> ConfigDict:
    """METRO*: one transformer with heads for deformation and contact; predicts the rough meshes."""
    config = base_config(base)
    config.model = presets.metro(config.model)
    config.losses.params = 0.0  # it has no parameters
    config.losses.adversarial = 0.0
    config.losses.hand_depth = config.losses.hand_presence = 0.0
    return config


def fastmetro(base: str = "full") -> ConfigDict:
    """FastMETRO*: as METRO*, with learned tokens and cross-attention."""
    config = metro(base)
    config.model = presets.fastmetro(base_config(base).model)
    config.losses.heatmaps = 0.0  # it has no heatmaps
    return config


def pixie_r(base: str = "full") -> ConfigDict:
    """PIXIE-R: the parameters of the body models from the mean image feature."""
    config = base_config(base)
    config.model = presets.pixie_r(config.model)
    # It has no heatmaps, rough meshes, contacts or deformations.
    config.losses.update(
        heatmaps=0.0, rough=0.0, touch=0.0, contact=0.0, deformation=0.0, deformation_prior=0.0
    )
    config.losses.hand_depth = config.losses.hand_presence = 0.0
    return config


BASELINES = {function.__name__: function for function in (metro, fastmetro, pixie_r)}
