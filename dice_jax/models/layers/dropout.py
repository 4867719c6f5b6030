"""Dropout that does not depend on how a batch is split over devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float, Key

from dice_jax.array_types import Array


class Dropout(nn.Module):
    """Zeros a share `rate` of the activations and scales up the others, each sample with a key of
    its own.
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
    key: Key[Array, ""], size: int, axis_name: str | None = None
) -> Key[Array, "{size}"]:
    """A key for each of `size` samples by its number in the batch of all devices along the mapped
    axis `axis_name`.
    """
    first = 0 if axis_name is None else size * jax.lax.axis_index(axis_name)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(size))
