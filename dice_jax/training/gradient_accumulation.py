"""Gradients of a batch that is too large to look at in one go: of its micro-batches, one after
another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int, PyTree

from dice_jax.array_types import Array


def over_micro_batches(
    function: Callable[[PyTree, PyTree, Int[Array, ""]], tuple[PyTree, PyTree, PyTree]],
    carried: PyTree,
    batch: PyTree,
    count: int,
) -> tuple[PyTree, PyTree, PyTree]:
    """Runs `function` over `count` equal parts of `batch`.

    Part i holds the samples i, i + count, i + 2 count, ...: the same ones of the global batch for
    any number of devices.

    Args:
        function: from (carried, part, its number) to (summed, stacked, carried): what to add up,
            what to hand out sample by sample, and what the next part begins with.
        carried: for the first part.
        batch: arrays (B, ...), B a multiple of `count`.
        count: of parts. The memory of only one is needed at a time.

    Returns:
        (sums over the parts, samples in the order of `batch`, carried after the last part).
    """
    if count == 1:  # no loop: one body inside it would compile to slower code
        return function(carried, batch, jnp.zeros((), jnp.int32))
    parts = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), batch)

    def body(carry: Any, numbered: Any):
        carried, sums = carry
        summed, stacked, carried = function(carried, *numbered)
        return (carried, jax.tree.map(jnp.add, sums, summed)), stacked

    first = jax.eval_shape(
        function, carried, jax.tree.map(lambda x: x[0], parts), jnp.zeros((), jnp.int32)
    )[0]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    (carried, sums), stacked = jax.lax.scan(body, (carried, zeros), (parts, jnp.arange(count)))
    in_order = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), stacked)
    return sums, in_order, carried
