"""Per-vertex errors (paper sec. 4.1), meters, per sample. Meshes are head-centerd on both sides."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.procrustes import align

MOVED = 0.005


def distances(
    prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]
) -> Float[Array, "*B N"]:
    """Euclidean distance of corresponding points."""
    return jnp.linalg.norm(prediction - target, axis=-1)


def pve(
    hand: Float[Array, "*B H 3"],
    deformed_head: Float[Array, "*B F 3"],
    target_hand: Float[Array, "*B H 3"],
    target_deformed_head: Float[Array, "*B F 3"],
) -> Float[Array, "*B"]:
    """PVE*: mean distance over all 5801 vertices of the hand and the DEFORMED head, the head's
    center at the origin.

    The relative position of hand and head counts: neither part is moved to fit.
    """
    prediction = jnp.concatenate([deformed_head, hand], axis=-2)
    target = jnp.concatenate([target_deformed_head, target_hand], axis=-2)
    return jnp.mean(distances(prediction, target), axis=-1)


def pa_pve(
    prediction: Float[Array, "*B N 3"], target: Float[Array, "*B N 3"]
) -> Float[Array, "*B"]:
    """PA-PVE: mean distance of corresponding vertices after ONE similarity (rotation, translation,
    scale) of all of them.

    Of one part it tells its pose and shape apart from where it is; of hand and head together also
    how they meet.
    """
    return jnp.mean(distances(align(prediction, target), target), axis=-1)


def deformation_error(
    deformations: Float[Array, "*B V 3"], target: Float[Array, "*B V 3"], threshold: float = MOVED
) -> tuple[Float[Array, "*B"], Float[Array, "*B"], Float[Array, "*B"]]:
    """Error of the displacements of the skin.

    Returns:
        mean over all vertices, meters;
        SUM over the vertices that truly move by more than 5 mm, meters;
        their number, by which the sum over a data set is to be divided.
    """
    error = distances(deformations, target)
    moved = jnp.linalg.norm(target, axis=-1) > threshold
    return (
        jnp.mean(error, axis=-1),
        jnp.sum(jnp.where(moved, error, 0.0), axis=-1),
        jnp.sum(moved, axis=-1),
    )
