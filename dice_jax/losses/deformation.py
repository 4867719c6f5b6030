"""L_deform: how the skin gives way (paper sec. 3.3), and a prior for images without ground truth."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def deviation_loss(
    deformations: Float[Array, "*B V 3"],
    target: Float[Array, "*B V 3"],
    *,
    emphasis: float = 5000.0,
) -> Float[Array, "*B"]:
    """First term of L_deform: mean over vertices of (1 + 5000 |d^|) |d^ - d|^2.

    Few vertices move, and by millimeters: weighted by the true displacement, "nothing moves" is no
    longer a good answer.

    Args:
        deformations: predicted displacement of each head vertex, meters, camera axes.
        target: ground truth.
        emphasis: the 5000, per meter.
    """
    weight = 1.0 + emphasis * jnp.linalg.norm(target, axis=-1)
    return jnp.mean(weight * jnp.sum((target - deformations) ** 2, axis=-1), axis=-1)


def large_deformation_loss(
    deformations: Float[Array, "*B V 3"], *, threshold: float = 0.03
) -> Float[Array, "*B"]:
    """Second term of L_deform: mean over vertices of |d|_1 where the vertex moves by more than 3
    cm, meters.

    Skin does not do that; the threshold is a hard gate and passes no gradient.
    """
    is_large = jnp.sum(deformations**2, axis=-1) > threshold**2
    return jnp.mean(jnp.where(is_large, jnp.sum(jnp.abs(deformations), axis=-1), 0.0), axis=-1)


def deformation_prior(deformations: Float[Array, "*B V 3"]) -> Float[Array, "*B"]:
    """Mean over vertices of |d|_1, meters: keeps the skin still on images without 3D labels
    (released code only).
    """
    return jnp.mean(jnp.sum(jnp.abs(deformations), axis=-1), axis=-1)
