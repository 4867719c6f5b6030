"""Similarity alignment of two corresponding point sets (orthogonal Procrustes; Umeyama 1991)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def procrustes(
    source: Float[Array, "*B N 3"],
    target: Float[Array, "*B N 3"],
    weights: Float[Array, "*B N"] | None = None,
) -> tuple[Float[Array, "*B"], Float[Array, "*B 3 3"], Float[Array, "*B 3"]]:
    """The similarity transform that fits `source` to `target` by least squares.

    Args:
        source, target: corresponding points.
        weights: of the squared distances, not all zero; None: all 1.

    Returns:
        scale >= 0, rotation (determinant +1, never a reflection) and translation, with
        `target ~ scale * source @ rotation.T + translation`. Coincident points give scale 0.
    """
    given = jnp.ones(source.shape[:-1], source.dtype) if weights is None else jnp.asarray(weights)
    share = (given / given.sum(-1, keepdims=True))[..., None]
    source_mean, target_mean = (share * source).sum(-2), (share * target).sum(-2)
    source, target = source - source_mean[..., None, :], target - target_mean[..., None, :]
    covariance = jnp.einsum("...ni,...nj->...ij", share * target, source, precision="highest")
    u, singular, vt = jnp.linalg.svd(covariance)
    # If the best orthogonal matrix is a reflection, the least important axis is reflected back.
    handedness = jnp.sign(jnp.linalg.det(u @ vt))
    signs = jnp.ones_like(singular).at[..., -1].set(handedness)
    rotation = jnp.matmul(u * signs[..., None, :], vt, precision="highest")
    spread = (share * source**2).sum((-2, -1))
    scale = (singular * signs).sum(-1) / jnp.where(spread > 0.0, spread, 1.0)
    turned = jnp.matmul(rotation, source_mean[..., None], precision="highest")[..., 0]
    return scale, rotation, target_mean - scale[..., None] * turned


def align(source: Float[Array, "*B N 3"], target: Float[Array, "*B N 3"]) -> Float[Array, "*B N 3"]:
    """Transforms `source` by the similarity of `procrustes`; used by the PA metrics."""
    scale, rotation, translation = procrustes(source, target)
    turned = jnp.einsum("...ij,...nj->...ni", rotation, source, precision="highest")
    return scale[..., None, None] * turned + translation[..., None, :]
