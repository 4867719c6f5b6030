"""Levenberg-Marquardt with a fixed number of steps, for `jit` and `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from dice_jax.array_types import Array

_FIRST_DAMPING = 1e-2
_LESS, _MORE = 1.0 / 3.0, 4.0  # factors of the damping after a good and after a bad step
_LOWEST, _HIGHEST = 1e-6, 1e6

Unknowns = TypeVar("Unknowns")


class Minimum(struct.PyTreeNode, Generic[Unknowns]):
    """The result of `minimize`.

    Attributes:
        unknowns: where the cost is lowest.
        cost: half the sum of the squared residuals there; never above `first_cost`.
        first_cost: the same at the start.
    """

    unknowns: Unknowns
    cost: Float[Array, "*B"]
    first_cost: Float[Array, "*B"]


def minimize(
    residuals: Callable[[Unknowns], Float[Array, "R"]], start: Unknowns, steps: int
) -> Minimum[Unknowns]:
    """Minimizes half the sum of squares of `residuals`.

    Every unknown should have about unit size, because the damping adds the same number to the whole
    diagonal of the normal equations (Levenberg 1944). A step that raises the cost, or makes it NaN,
    is not taken; it is tried again with more damping.

    Args:
        residuals: a differentiable function of the unknowns.
        start: a pytree of float32 arrays.
        steps: number of steps; each evaluates the residuals twice and their Jacobian once.

    Returns:
        The best unknowns found. They are the start where nothing better was found.
    """
    first, unravel = ravel_pytree(start)
    function = lambda x: residuals(unravel(x))
    jacobian = jax.jacfwd(lambda x: (function(x),) * 2, has_aux=True)

    def step(state, _):
        x, damping, cost = state
        matrix, values = jacobian(x)
        normal = jnp.matmul(matrix.T, matrix, precision="highest")
        gradient = jnp.matmul(matrix.T, values, precision="highest")
        damped = normal + damping * jnp.eye(len(x), dtype=x.dtype)
        factor = jax.scipy.linalg.cho_factor(damped, lower=True)
        tried = x - jax.scipy.linalg.cho_solve(factor, gradient)
        tried_cost = _half_square(function(tried))
        better = tried_cost < cost  # False for NaN
        x = jnp.where(better, tried, x)
        cost = jnp.where(better, tried_cost, cost)
        damping = jnp.clip(damping * jnp.where(better, _LESS, _MORE), _LOWEST, _HIGHEST)
        return (x, damping, cost), None

    first_cost = _half_square(function(first))
    state = (first, jnp.full_like(first_cost, _FIRST_DAMPING), first_cost)
    (x, _, cost), _ = jax.lax.scan(step, state, None, length=steps)
    return Minimum(unravel(x), cost, first_cost)


def _half_square(values):
    return 0.5 * (values**2).sum()


def robust(residuals: Float[Array, "N C"], scale: float) -> Float[Array, "N C"]:
    """Vectors whose squared lengths are the Geman-McClure-like loss of the given ones.

    A vector much shorter than `scale` is unchanged. The length of a long one grows like its square
    root, so that an outlier pulls less the farther off it is.

    Args:
        residuals: one vector for each point, in standard deviations.
        scale: where the loss bends, standard deviations.
    """
    squared = (residuals**2).sum(-1, keepdims=True) / scale**2
    return residuals / (1.0 + squared) ** 0.25
