"""Data parallelism over the local devices, the only place that chooses how work is spread.

All of them lie on one mesh with the single axis `AXIS`, along which batches are split. Training
uses `parallelize` (`jax.pmap`, which JAX itself builds on `shard_map`): its state is replicated
and the devices exchange gradients. Evaluation uses `on_local_devices`: samples are independent.
No result depends on the number of devices, because every mean in the step is taken over `AXIS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import chex
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from dice_jax.errors import UserError

AXIS = "devices"
_REPLICATED, _SPLIT = PartitionSpec(), PartitionSpec(AXIS)


def parallelize(
    step: Callable, *, donate_state: bool = False, devices: int | None = None
) -> Callable:
    """Maps `step(state, ...)` over local devices.

    Args:
        step: may reduce over `AXIS`. All its arguments and results get a new first axis, that of
            the devices; `replicate` and `shard` add it.
        donate_state: reuse the memory of the first argument, which is invalid after the call.
        devices: number of devices, by default all local ones.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        donate_argnums=(0,) if donate_state else (),
        devices=None if devices is None else jax.local_devices()[:devices],
    )


def replicate(tree: PyTree, devices: int | None = None) -> PyTree:
    """A copy of every array on each local device (or the first `devices`), on a new first axis."""
    count = devices or jax.local_device_count()
    stacked = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (count, *np.shape(x))), tree)
    return _put(stacked, _SPLIT, count)


def unreplicate(tree: PyTree) -> PyTree:
    """The first device's copy, as NumPy arrays. Waits for the device."""
    return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0)[0], tree))


def shard(batch: PyTree, devices: int | None = None) -> PyTree:
    """Splits the first axis over local devices, without waiting for them.

    Args:
        batch: arrays (B, ...).
        devices: number of devices, by default all local ones; it divides B.

    Returns:
        Arrays (devices, B / devices, ...).
    """
    count = devices or jax.local_device_count()
    split = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)
    return _put(split, _SPLIT, count)


def on_local_devices(
    function: Callable[[PyTree, PyTree], PyTree], shared: PyTree, batch: PyTree
) -> PyTree:
    """`function(shared, batch)` with the samples of `batch` spread over local devices.

    Uses as many devices as divide the batch evenly.

    Args:
        function: maps each sample independently of the others. It is compiled once for each
            function object, so pass one that lives at module level.
        shared: arrays that every device needs whole.
        batch: arrays (B, ...).

    Returns:
        What `function` returns, arrays (B, ...), still on the devices.
    """
    leaves = jax.tree.leaves(batch)
    chex.assert_equal_shape_prefix(leaves, 1)
    count = math.gcd(len(leaves[0]), jax.local_device_count())
    return _spread(function, count)(put_replicated(shared, count), _put(batch, _SPLIT, count))


def put_replicated(tree: PyTree, devices: int | None = None) -> PyTree:
    """Places `tree` whole on each device, as `on_local_devices` needs its shared arrays."""
    return _put(tree, _REPLICATED, devices or jax.local_device_count())


def check_batch_size(batch_size: int, accumulate_steps: int = 1) -> None:
    """Checks that the global batch divides evenly over all devices and their micro-batches.

    Raises:
        UserError: it does not.
    """
    devices = jax.device_count()
    if accumulate_steps < 1:
        raise UserError(f"accumulate_steps is {accumulate_steps}: it must be 1 (off) or more")
    if batch_size < 1 or batch_size % (devices * accumulate_steps):
        micro = f" times {accumulate_steps} accumulate_steps" if accumulate_steps > 1 else ""
        raise UserError(
            f"batch_size {batch_size} is not a multiple of the {devices} devices{micro}: change one"
        )


@functools.cache
def _spread(function, count):
    # The replication check does not support all loops, and nothing is communicated here.
    specs = {"in_specs": (_REPLICATED, _SPLIT), "out_specs": _SPLIT}
    return jax.jit(jax.shard_map(function, mesh=_mesh(count), check_vma=False, **specs))


def _put(tree: PyTree, spec: PartitionSpec, count: int) -> PyTree:
    return jax.device_put(tree, NamedSharding(_mesh(count), spec))


def _mesh(count: int) -> Mesh:
    return Mesh(np.array(jax.local_devices()[:count]), (AXIS,))
