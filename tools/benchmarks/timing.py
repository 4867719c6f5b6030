"""Times calls of functions that return JAX arrays."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


def call_seconds(function: Callable[..., Any], *inputs: Any, repeats: int) -> list[float]:
    """The duration of each of `repeats` calls, after one call that is not counted."""
    jax.block_until_ready(function(*inputs))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*inputs))
        seconds.append(time.perf_counter() - start)
    return seconds


def median_ms(function: Callable[..., Any], *inputs: Any, repeats: int) -> float:
    """The median duration of a call in milliseconds."""
    return 1e3 * statistics.median(call_seconds(function, *inputs, repeats=repeats))
