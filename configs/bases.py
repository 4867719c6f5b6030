"""The recipes that a baseline can be a variant of; not one itself."""

import functools

from ml_collections import ConfigDict

from configs import full, small, tiny

_BASES = {
  "full": full.get_config,
  "synthetic": functools.partial(full.get_config, "synthetic"),
  "small": small.get_config,
  "tiny": tiny.get_config,
}


def get_config(name: str) -> ConfigDict:
  """The recipe of that name.

  Raises:
    ValueError: there is none.
  """
  if name not in _BASES:
    raise ValueError(f"no recipe {name!r} to vary: choose one of {', '.join(_BASES)}")
  return _BASES[name]()
