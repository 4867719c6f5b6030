"""The continuous representation of rotations that networks predict (Zhou et al. 2019)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array

_IDENTITY = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], np.float32)  # its first two columns


def rotation_from_6d(x: Float[Array, "*B 6"]) -> Float[Array, "*B 3 3"]:
    """Rotation matrices by Gram-Schmidt on two columns.

    Args:
        x: offsets of the first two columns from those of the identity, so that zeros give the
            identity.
    """
    columns = x + jnp.broadcast_to(_IDENTITY, x.shape)
    first, second = _normalize(columns[..., :3]), columns[..., 3:]
    second = _normalize(second - (first * second).sum(-1, keepdims=True) * first)
    return jnp.stack([first, second, jnp.cross(first, second)], -1)


def _normalize(x):
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-12)
