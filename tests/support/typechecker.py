"""The type checker of the test suite: beartype, for the import hook of jaxtyping.

A pytree may be rebuilt around anything (shapes, device placements, sums of its leaves), so a
dataclass is checked where the code constructs it, and not where JAX unflattens it.
"""

import functools
import sys

from beartype import beartype

_UNFLATTEN = "clz_from_iterable"  # of flax.struct
_FRAMES = 12  # between it and the check, with room to spare


def check(function):
    """Decorates `function` so that its arguments and its result are checked at each call."""
    checked = beartype(function)
    if function.__name__ != "__init__":
        return checked

    @functools.wraps(function)
    def init(*args, **kwargs):
        if not _is_unflattening():
            checked(*args, **kwargs)

    return init


def _is_unflattening() -> bool:
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name == _UNFLATTEN:
            return True
        frame = frame.f_back
    return False
