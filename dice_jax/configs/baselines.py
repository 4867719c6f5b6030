"""The baselines of the paper's Table 1, each a function of the name of a base configuration.

Command, on full.py or, after the colon, on small.py, tiny.py or full.py:synthetic:

  python -m dice_jax.train --config=metro --workdir=runs/metro
  python -m dice_jax.train --config=metro:small --workdir=runs/metro_small

Hardware, time and all other fields are those of the base.

Numbers: of 300 steps on small.py in configs/README.md; none at the paper's scale.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from dice_jax.configs.ablations import base_config, no_in_the_wild
from dice_jax.models import presets


def metro(base: str = "full") -> ConfigDict:
    """METRO*: one transformer with heads for deformation and contact, and IKNets.

    The paper does not say on which data it was trained; here on those of the base.
    """
    config = base_config(base)
    config.model = presets.metro(config.model)
    config.losses.hand_depth = config.losses.hand_presence = 0.0  # DICE's own additions here
    return config


def fastmetro(base: str = "full") -> ConfigDict:
    """FastMETRO*: two single-target networks without exchange, trained without in-the-wild data."""
    try:
        config = no_in_the_wild(base)
    except ValueError:
        config = base_config(base)  # has none to leave out, or is unknown
    config.model = presets.fastmetro(config.model)
    config.losses.heatmaps = 0.0  # it has no heatmaps
    config.losses.hand_depth = config.losses.hand_presence = 0.0
    return config


def pixie_r(base: str = "full") -> ConfigDict:
    """PIXIE-R: all from the mean image feature, with the mesh and interaction losses of DICE."""
    config = base_config(base)
    config.model = presets.pixie_r(config.model)
    config.losses.update(heatmaps=0.0, rough=0.0)  # it has neither heatmaps nor rough meshes
    config.losses.hand_depth = config.losses.hand_presence = 0.0
    return config


BASELINES = {function.__name__: function for function in (metro, fastmetro, pixie_r)}
