"""The ablations of the paper's Table 3, each a function of the name of a base configuration.

Command, on full.py or, after the colon, on small.py, tiny.py or full.py:synthetic:

  python -m dice_jax.train --config=no_depth --workdir=runs/no_depth
  python -m dice_jax.train --config=no_depth:small --workdir=runs/no_depth_small

`python -m dice_jax.tools.run_ablations` trains several rows of the table with one budget and
tabulates them. Hardware, time and all other fields are those of the base.

Numbers: of 300 steps on small.py in configs/README.md; none at the paper's scale.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ml_collections import ConfigDict

from dice_jax.configs import full, small, tiny
from dice_jax.models import presets

BASES: dict[str, Callable[[], ConfigDict]] = {
    "full": full.get_config,
    "synthetic": functools.partial(full.get_config, "synthetic"),
    "overfit": functools.partial(full.get_config, "overfit"),
    "small": small.get_config,
    "tiny": tiny.get_config,
}
IN_THE_WILD = "in_the_wild"


def base_config(name: str) -> ConfigDict:
    """The configuration that an ablation or a baseline changes.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in BASES:
        raise ValueError(f"no base configuration called {name!r}: choose one of {', '.join(BASES)}")
    return BASES[name]()


def no_in_the_wild(base: str = "full") -> ConfigDict:
    """Without in-the-wild data: trained on the studio data alone.

    Raises:
        ValueError: the base configuration has no in-the-wild data.
    """
    config = base_config(base)
    parts = config.data.name.split("+")
    kept = [part for part in parts if not part.startswith(IN_THE_WILD)]
    if len(kept) == len(parts):
        raise ValueError(
            f"{base} trains on {config.data.name}, which has no in-the-wild data to leave out"
        )
    config.data.name = "+".join(kept)
    config.losses.depth = 0.0  # only in-the-wild samples have depth
    return config


def no_rough(base: str = "full") -> ConfigDict:
    """Without supervision of the rough meshes V_F' and V_H'."""
    config = base_config(base)
    config.losses.rough = 0.0
    return config


def no_depth(base: str = "full") -> ConfigDict:
    """Without L_depth."""
    config = base_config(base)
    config.losses.depth = 0.0
    return config


def no_params(base: str = "full") -> ConfigDict:
    """Without L_params: only the meshes supervise the parameters."""
    config = base_config(base)
    config.losses.params = 0.0
    return config


def no_adversarial(base: str = "full") -> ConfigDict:
    """Without L_adv: no discriminators."""
    config = base_config(base)
    config.losses.adversarial = 0.0
    return config


def single_branch(base: str = "full") -> ConfigDict:
    """One transformer for positions, deformation and contact."""
    config = base_config(base)
    config.model = presets.single_branch(config.model)
    return config


ABLATIONS = {
    function.__name__: function
    for function in (no_in_the_wild, no_rough, no_depth, no_params, no_adversarial, single_branch)
}
