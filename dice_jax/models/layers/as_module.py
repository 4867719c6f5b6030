"""A function with layers as a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import linen as nn


class AsModule(nn.Module):
    """Calls a function whose layers then have this module's name before theirs.

    So a network can have weights under the name of a module that it does not have.
    """

    function: Callable[..., Any]

    @nn.compact
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.function(*inputs, **options)
