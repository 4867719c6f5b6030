"""Per-vertex errors (paper sec. 4.1) per sample, meters. Meshes are head-centered."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.procrustes import align

MOVED = 0.005  # meters; a vertex whose true deformation is longer counts as moved


def distances(
    prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]
) -> Float[Array, "*B N"]:
    """Euclidean distances of corresponding points."""
    return jnp.linalg.norm(prediction - target, axis=-1)


def pve(
    hand: Float[Array, "*B H 3"],
    deformed_head: Float[Array, "*B F 3"],
    target_hand: Float[Array, "*B H 3"],
    target_deformed_head: Float[Array, "*B F 3"],
) -> Float[Array, "*B"]:
    """PVE*: mean distance over all 5801 vertices of the hand and the DEFORMED head.

    No part is aligned, so the position of the hand relative to the head counts.
    """
    prediction = jnp.concatenate([deformed_head, hand], axis=-2)
    target = jnp.concatenate([target_deformed_head, target_hand], axis=-2)
    return jnp.mean(distances(prediction, target), axis=-1)


def pa_pve(
    prediction: Float[Array, "*B N 3"], target: Float[Array, "*B N 3"]
) -> Float[Array, "*B"]:
    """PA-PVE: mean distance of corresponding vertices after Procrustes alignment.

    ONE similarity (rotation, translation, scale) aligns all N vertices. For one part the error
    measures pose and shape without position; for both parts, also their relative position.
    """
    return jnp.mean(distances(align(prediction, target), target), axis=-1)


def deformation_error(
    deformations: Float[Array, "*B V 3"], target: Float[Array, "*B V 3"], threshold: float = MOVED
) -> tuple[Float[Array, "*B"], Float[Array, "*B"], Float[Array, "*B"]]:
    """Error of the deformations of the skin.

    Args:
        deformations, target: displacements of the head vertices, meters.
        threshold: vertices with a longer true displacement count as moved, meters.

    Returns:
        Mean error over all vertices, meters; SUM of the errors of the moved vertices, meters; the
        number of moved vertices. Sum the last two over a data set, then divide.
    """
    error = distances(deformations, target)
    moved = jnp.linalg.norm(target, axis=-1) > threshold
    return (
        jnp.mean(error, axis=-1),
        jnp.sum(jnp.where(moved, error, 0.0), axis=-1),
        jnp.sum(moved, axis=-1, dtype=error.dtype),
    )
