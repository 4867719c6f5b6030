"""Gradients of a batch that does not fit into memory, summed over its micro-batches."""

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
    """Runs `function` on `count` micro-batches of equal size, one after another.

    Micro-batch i holds the samples i, i + count, i + 2 count, ... Together with those of the other
    devices these are the same samples for any number of devices.

    Args:
        function: from (carried, micro-batch, its number) to (summed, stacked, carried): values to
            add up, values of each sample, and the input of the next call.
        carried: input of the first call.
        batch: arrays (B, ...), where `count` divides B.
        count: number of micro-batches. Only one of them needs memory at a time.

    Returns:
        The sums, the stacked values in the order of `batch`, and the last carried value.
    """
    if count == 1:  # without a loop, which would compile to slower code
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
