"""Rotations as axis-angle vectors, matrices and quaternions (w, x, y, z).

Values and gradients of every map are finite at the identity, and the logarithm is accurate up to a
half turn. There it is discontinuous: `a` and `-a` of length pi are the same rotation, and either
may be returned.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from dice_jax.array_types import Array

# Below this squared angle (radians^2) a series is used: exact in float32, and without 0/0 in its
# derivative.
_SMALL_ANGLE_SQUARED = 1e-4


def axis_angle_to_matrix(axis_angle: Float[Array, "*B 3"]) -> Float[Array, "*B 3 3"]:
    """Rodrigues' formula: R = I + sin(t)/t K + (1 - cos(t))/t^2 K^2.

    t is the length of `axis_angle` and K its cross-product matrix.

    Args:
        axis_angle: rotation axis times angle, radians.

    Returns:
        Rotation matrices that act on column vectors.
    """
    squared = (axis_angle**2).sum(-1)
    small = squared < _SMALL_ANGLE_SQUARED
    safe = jnp.where(small, 1.0, squared)
    angle = jnp.sqrt(safe)
    sine = jnp.where(small, 1.0 - squared / 6.0 + squared**2 / 120.0, jnp.sin(angle) / angle)
    # 1 - cos(t) = 2 sin(t/2)^2 does not cancel.
    versine = jnp.where(
        small, 0.5 - squared / 24.0 + squared**2 / 720.0, 2.0 * jnp.sin(0.5 * angle) ** 2 / safe
    )
    x, y, z = jnp.moveaxis(axis_angle, -1, 0)
    zero = jnp.zeros_like(x)
    cross = _stack_matrix([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    identity = jnp.broadcast_to(jnp.eye(3, dtype=axis_angle.dtype), outer.shape)
    squared_cross = outer - squared[..., None, None] * identity
    return identity + sine[..., None, None] * cross + versine[..., None, None] * squared_cross


def matrix_to_axis_angle(matrix: Float[Array, "*B 3 3"]) -> Float[Array, "*B 3"]:
    """Logarithm of a rotation matrix: axis times angle, radians, angle in [0, pi]."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def matrix_to_quaternion(matrix: Float[Array, "*B 3 3"]) -> Float[Array, "*B 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0 of a rotation matrix.

    The entries of R give the matrix 4 q q^T without a root or a division (Shepperd 1978). The row
    with the largest diagonal element, which is at least 1, is a well-conditioned multiple of q.
    """
    difference = lambda i, j: matrix[..., i, j] - matrix[..., j, i]
    total = lambda i, j: matrix[..., i, j] + matrix[..., j, i]
    wx, wy, wz = difference(2, 1), difference(0, 2), difference(1, 0)
    xy, xz, yz = total(0, 1), total(0, 2), total(1, 2)
    a, b, c = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    rows = _stack_matrix(
        [
            [1.0 + a + b + c, wx, wy, wz],
            [wx, 1.0 + a - b - c, xy, xz],
            [wy, xy, 1.0 - a + b - c, yz],
            [wz, xz, yz, 1.0 - a - b + c],
        ]
    )
    best = jnp.argmax(jnp.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    row = jnp.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :]
    row = jnp.where(row[..., :1] < 0.0, -row, row)
    return row / jnp.linalg.norm(row, axis=-1, keepdims=True)


def quaternion_to_matrix(quaternion: Float[Array, "*B 4"]) -> Float[Array, "*B 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z) of any length but zero."""
    w, x, y, z = jnp.moveaxis(quaternion, -1, 0)
    s = 2.0 / (quaternion**2).sum(-1)
    return _stack_matrix(
        [
            [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
        ]
    )


def quaternion_to_axis_angle(quaternion: Float[Array, "*B 4"]) -> Float[Array, "*B 3"]:
    """Axis times angle, radians, of a unit quaternion with w >= 0."""
    w, vector = quaternion[..., 0], quaternion[..., 1:]
    squared = (vector**2).sum(-1)
    small = squared < _SMALL_ANGLE_SQUARED
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    # 2 atan(s/w) / s = 2/w (1 - (s/w)^2/3 + ...); w is near 1 where the series is used.
    safe_w = jnp.where(small, w, 1.0)
    ratio = squared / safe_w**2
    series = 2.0 / safe_w * (1.0 - ratio / 3.0 + ratio**2 / 5.0)
    factor = jnp.where(small, series, 2.0 * jnp.arctan2(sine, w) / sine)
    return factor[..., None] * vector


def compose_axis_angle(
    first: Float[Array, "*B 3"], second: Float[Array, "*B 3"]
) -> Float[Array, "*B 3"]:
    """The rotation that applies `second`, then `first`, as axis-angle vectors, radians."""
    return matrix_to_axis_angle(axis_angle_to_matrix(first) @ axis_angle_to_matrix(second))


def random_rotation(key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape 3 3"]:
    """Uniformly distributed rotation matrices (Haar measure), from Gaussian quaternions."""
    return quaternion_to_matrix(jax.random.normal(key, (*shape, 4)))


def _stack_matrix(rows: Sequence[Sequence[Array]]) -> Array:
    """Matrices from their entries, arrays of one shape."""
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
