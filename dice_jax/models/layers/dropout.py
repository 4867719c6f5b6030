"""Dropout that does not depend on how a batch is split over devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float, Key, PRNGKeyArray, UInt32

from dice_jax.array_types import Array


class Dropout(nn.Module):
    """Sets a share `rate` of the activations to zero and scales up the others.

    Each sample has a random key of its own, see `sample_keys`.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B *C"], *, train: bool) -> Float[Array, "B *C"]:
        if not train or not self.rate:
            return x
        keys = sample_keys(self.make_rng("dropout"), len(x), self.axis_name)
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(kept, x / (1 - self.rate), 0)


def sample_keys(
    key: PRNGKeyArray, size: int, axis_name: str | None = None
) -> Key[Array, "{size}"] | UInt32[Array, "{size} 2"]:
    """Random keys of `size` samples, by their index in the batch of all devices.

    Args:
        key: key of the step.
        size: number of samples on this device.
        axis_name: mapped axis of the devices; None: there is one device.
    """
    first = 0 if axis_name is None else size * jax.lax.axis_index(axis_name)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(size))
