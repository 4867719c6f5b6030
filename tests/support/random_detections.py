"""Detections of hands and faces at random places, for networks that see them."""

import jax.numpy as jnp

from dice_jax.structs import Detections, Intrinsics


def random_detections(rng, size):
    """Points of the size of a hand and a face in a crop."""
    points = lambda count, spread: jnp.asarray(
        [[*rng.normal(112, spread, 2), rng.normal(0, spread), 1.0] for _ in range(size * count)],
        jnp.float32,
    ).reshape(size, count, 4)
    world = jnp.asarray(rng.normal(scale=0.04, size=(size, 21, 3)), jnp.float32)
    return Detections(points(21, 20.0), world, points(468, 40.0))


def random_intrinsics(rng, size):
    """Pinholes of phone cameras, beside whose axes the crops lie."""
    focal_length = rng.uniform(300, 900, size)
    center = rng.normal(112, 60, (size, 2))
    return Intrinsics(jnp.asarray(focal_length, jnp.float32), jnp.asarray(center, jnp.float32))
