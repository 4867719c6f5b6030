"""The continuous representation of rotations."""

import jax.numpy as jnp
import numpy as np

from dice_jax.models.layers.rotation_6d import rotation_from_6d


def test_it_gives_rotations_and_zeros_give_the_identity(rng):
    rotation = np.asarray(rotation_from_6d(jnp.asarray(rng.normal(size=(50, 6)), jnp.float32)))
    np.testing.assert_allclose(rotation @ rotation.swapaxes(-1, -2) - np.eye(3), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)
    np.testing.assert_allclose(rotation_from_6d(jnp.zeros(6)), np.eye(3), atol=1e-6)
