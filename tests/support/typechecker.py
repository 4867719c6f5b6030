"""The type checker of the test suite: beartype, for the import hook of jaxtyping.

JAX may rebuild a pytree around anything (shapes, device placements, None). A dataclass is therefore
checked where the code constructs it, and not where JAX unflattens it.
"""

import functools
import sys

from beartype import BeartypeConf, beartype

# As in PEP 484, an int may stand for a float.
_CONF = BeartypeConf(is_pep484_tower=True)
_CHECKERS = ("jaxtyping", "beartype", "support/typechecker.py")


def check(function):
    """Decorates `function` so that its arguments and its result are checked at each call."""
    checked = beartype(function, conf=_CONF)
    if function.__name__ != "__init__":
        return checked

    @functools.wraps(function)
    def init(*args, **kwargs):
        if not _called_by_jax():
            checked(*args, **kwargs)

    return init


def _called_by_jax() -> bool:
    """Whether the first frame outside the type checkers belongs to JAX or Flax."""
    frame = sys._getframe(1)
    while frame is not None and any(name in frame.f_code.co_filename for name in _CHECKERS):
        frame = frame.f_back
    path = "" if frame is None else frame.f_code.co_filename
    return "/jax/_src/" in path or "/flax/struct.py" in path
