"""Training configurations by name, for `python -m dice_jax.train --config=NAME`.

  --config=small            the small network (dice_jax/configs/small.py)
  --config=full:synthetic   the part after the colon is the argument of the configuration
  --config=metro:small      a baseline or an ablation of another configuration

In a clone, `configs/NAME.py` is the path of the same configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from dice_jax.configs import ablations, baselines, full, small, tiny

CONFIGS: dict[str, Callable[..., ConfigDict]] = {
    "full": full.get_config,
    "small": small.get_config,
    "tiny": tiny.get_config,
    **ablations.ABLATIONS,
    **baselines.BASELINES,
}


def get_config(name: str) -> ConfigDict:
    """The configuration called `name`, such as "small" or "metro:small".

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    name, _, argument = name.partition(":")
    if name not in CONFIGS:
        raise ValueError(f"no configuration called {name!r}: choose one of {', '.join(CONFIGS)}")
    return CONFIGS[name](*[argument] if argument else [])


def resolve_names(argv: Sequence[str]) -> list[str]:
    """Replaces `--config=NAME` by `--config=FILE:NAME`, since ml_collections takes files only.

    Args:
        argv: a command line. A path, which has a separator or ends with ".py", is not changed.
    """
    resolved, expects_value = [], False
    for word in argv:
        flag, equals, value = word.partition("=")
        if expects_value:
            word = _path_of(word)
        elif equals and flag in ("--config", "-config"):
            word = f"{flag}={_path_of(value)}"
        expects_value = word in ("--config", "-config")
        resolved.append(word)
    return resolved


def run_name(path: str) -> str:
    """The name of a run without `--workdir`: "full_synthetic" for configs/full.py:synthetic.

    Args:
        path: of the configuration, from `resolve_names`, with its argument behind a colon.
    """
    file, _, argument = path.partition(".py")
    stem = file.replace("\\", "/").rpartition("/")[2]
    parts = ([] if stem == "__init__" else [stem]) + argument.strip(":").split(":")
    return "_".join(part for part in parts if part)


def _path_of(name: str) -> str:
    base = name.partition(":")[0]
    return name if "/" in base or "\\" in base or base.endswith(".py") else f"{__file__}:{name}"
