"""L_deform: deformation of the face by the hand (paper sec. 3.3), and a prior without labels."""

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

    Few vertices move, and by millimeters only. Weighting a vertex by its true displacement keeps
    the prediction "no deformation" from being nearly optimal.

    Args:
        deformations: d, predicted displacement of each head vertex, meters, camera axes.
        target: d^, its ground truth.
        emphasis: the 5000, per meter.
    """
    weight = 1.0 + emphasis * jnp.linalg.norm(target, axis=-1)
    return jnp.mean(weight * jnp.sum((target - deformations) ** 2, axis=-1), axis=-1)


def large_deformation_loss(
    deformations: Float[Array, "*B V 3"], *, threshold: float = 0.03, l1: bool = False
) -> Float[Array, "*B"]:
    """Second term of L_deform: |d| where |d| > 3 cm, mean over all vertices (paper eq. 16).

    Skin does not move that far. The threshold is a hard gate: no gradient passes through it.

    Args:
        deformations: predicted, meters.
        threshold: the 3 cm, meters.
        l1: measure what is beyond the threshold by the sum of the absolute coordinates (released
            code), which depends on the axes.
    """
    is_large = jnp.sum(deformations**2, axis=-1) > threshold**2
    return jnp.mean(jnp.where(is_large, _length(deformations, l1), 0.0), axis=-1)


def deformation_prior(
    deformations: Float[Array, "*B V 3"], *, l1: bool = False
) -> Float[Array, "*B"]:
    """Mean length of the deformations, meters: keeps them small (released code only).

    For images without ground truth.

    Args:
        deformations: predicted, meters.
        l1: as in `large_deformation_loss`.
    """
    return jnp.mean(_length(deformations, l1), axis=-1)


def _length(vectors: Float[Array, "*B V 3"], l1: bool) -> Float[Array, "*B V"]:
    if l1:
        return jnp.sum(jnp.abs(vectors), axis=-1)
    squares = jnp.sum(vectors**2, axis=-1)
    # The gradient of sqrt is infinite at 0.
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
