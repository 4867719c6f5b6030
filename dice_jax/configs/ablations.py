"""The ablations of the paper's Table 3, each a function from the name of a base configuration.

  python -m dice_jax.train --config=no_depth --workdir=runs/no_depth
  python -m dice_jax.train --config=no_depth:small --workdir=runs/no_depth_small

Everything that is not named here is as in full.py or, after the colon, as in small.py, tiny.py or
full.py:synthetic; hardware and training time too. `python -m dice_jax.tools.run_ablations` trains
several rows with one budget and tabulates them. None was trained by us at the paper's scale; 300
steps on small.py: configs/README.md.
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
    "small": small.get_config,
    "tiny": tiny.get_config,
}
IN_THE_WILD = "in_the_wild"


def base_config(name: str) -> ConfigDict:
    """The configuration that an ablation or a baseline changes.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in BASES:
        raise ValueError(f"no base configuration called {name!r}: choose one of {', '.join(BASES)}")
    return BASES[name]()


def no_in_the_wild(base: str = "full") -> ConfigDict:
    """Without in-the-wild data: the studio data alone.

    Raises:
        ValueError: the base configuration has no in-the-wild data.
    """
    config = base_config(base)
    parts = config.data.name.split("+")
    kept = [part for part in parts if not part.startswith(IN_THE_WILD)]
    if len(kept) == len(parts):
        raise ValueError(
            f"{base} trains on {config.data.name}: it has no in-the-wild data to leave out"
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
    """Without L_params: the parameters are supervised by the meshes alone."""
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
