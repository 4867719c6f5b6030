"""The only place that knows how a step is spread over devices: `jax.pmap`, data parallel.

State is replicated, a batch is split on its first axis. The results do not depend on the number of
devices, since gradients and losses are averaged over `AXIS` inside the step.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PyTree

from dice_jax.errors import UserError

AXIS = "devices"


def parallelize(step: Callable, *, donate_state: bool = False) -> Callable:
    """`step(state, ...)` on every local device at once; with `donate_state` the state is updated in
    place.
    """
    return jax.pmap(step, axis_name=AXIS, donate_argnums=(0,) if donate_state else ())


def replicate(tree: PyTree) -> PyTree:
    """A copy of every array on every local device, stacked on a new first axis."""
    count = jax.local_device_count()
    return _put(jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (count, *np.shape(x))), tree))


def unreplicate(tree: PyTree) -> PyTree:
    """The first device's copy, as NumPy. Waits for the device."""
    return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0)[0], tree))


def shard(batch: PyTree) -> PyTree:
    """Splits the first axis over the local devices: (B, ...) to (devices, B / devices, ...),
    without waiting.
    """
    count = jax.local_device_count()
    return _put(jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch))


def check_batch_size(batch_size: int, accumulate_steps: int = 1) -> None:
    """Raises a UserError where the global batch does not divide evenly over the devices and their
    micro-batches.
    """
    devices = jax.device_count()
    if accumulate_steps < 1:
        raise UserError(f"accumulate_steps is {accumulate_steps}: it is 1 (off) or more")
    if batch_size < 1 or batch_size % (devices * accumulate_steps):
        micro = f" times {accumulate_steps} accumulate_steps" if accumulate_steps > 1 else ""
        raise UserError(
            f"batch_size {batch_size} is not a multiple of the {devices} devices{micro}: change one"
        )


def _put(tree: PyTree) -> PyTree:
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS)))
