"""The baselines of the paper's Table 1, each a function from the name of a base configuration.

  python -m dice_jax.train --config=metro --workdir=runs/metro
  python -m dice_jax.train --config=metro:small --workdir=runs/metro_small

Everything that is not named here is as in full.py or, after the colon, as in small.py, tiny.py or
full.py:synthetic; hardware and training time too. None was trained by us at the paper's scale; 300
steps on small.py: configs/README.md.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from dice_jax.configs.ablations import base_config
from dice_jax.models import presets


def metro(base: str = "full") -> ConfigDict:
    """METRO*: one transformer with heads for deformation and contact; the rough meshes are the
    answer.
    """
    config = base_config(base)
    config.model = presets.metro(config.model)
    config.losses.params = 0.0  # it regresses no parameters
    config.losses.adversarial = 0.0
    return config


def fastmetro(base: str = "full") -> ConfigDict:
    """FastMETRO*: as METRO*, with learned tokens and cross-attention."""
    config = metro(base)
    config.model = presets.fastmetro(base_config(base).model)
    config.losses.heatmaps = 0.0  # it has none
    return config


def pixie_r(base: str = "full") -> ConfigDict:
    """PIXIE-R: the body models' parameters straight from the image features."""
    config = base_config(base)
    config.model = presets.pixie_r(config.model)
    # It regresses neither keypoints in the image nor rough meshes, contacts or deformations.
    config.losses.update(
        heatmaps=0.0, rough=0.0, touch=0.0, contact=0.0, deformation=0.0, deformation_prior=0.0
    )
    return config


BASELINES = {function.__name__: function for function in (metro, fastmetro, pixie_r)}
