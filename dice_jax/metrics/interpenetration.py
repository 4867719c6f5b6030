"""Physical plausibility (paper sec. 4.1): the hand touches the face and does not penetrate it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry.sdf import signed_distance

TOLERANCE = 0.005  # meters; distance that counts as touch, and depth that counts as collision
LEAK = 0.05  # meters; limit of the authors' filter, see `hand_signed_distance`


class Interpenetration(NamedTuple):
    """Collision and touch of the hand and the head of each sample.

    Attributes:
        collision_distance: mean depth inside the head over ALL hand vertices, meters.
        non_colliding: no hand vertex is `TOLERANCE` deep or deeper.
        touching: some hand vertex is within `TOLERANCE` of the skin, on either side.
    """

    collision_distance: Float[Array, "*B"]
    non_colliding: Bool[Array, "*B"]
    touching: Bool[Array, "*B"]


def hand_signed_distance(
    hand_vertices: Float[Array, "*B H 3"],
    deformed_head_vertices: Float[Array, "*B F 3"],
    head_faces: Int[Array, "_ 3"],
    closed_head_faces: Int[Array, "_ 3"],
    cavity: Bool[Array, "F"] | None = None,
    *,
    reference_leak_filter: bool = False,
) -> Float[Array, "*B H"]:
    """Signed distance of each hand vertex to the skin of the DEFORMED head.

    Args:
        hand_vertices, deformed_head_vertices: meters, in one frame.
        head_faces: triangles of the skin.
        closed_head_faces: the same with the neck closed; they decide which points are inside.
        cavity: vertices of the inner mouth and the eye sockets, which are not skin.
        reference_leak_filter: set distances of 5 cm and more to 0, as the authors' evaluation does.
            It hides errors of their inside test at the open neck, which the test here does not
            have. It also makes a hand deep inside the head count as touching and NOT as colliding,
            so use it only to compare with published numbers.

    Returns:
        Meters, positive inside the head.
    """
    sdf = signed_distance(
        hand_vertices,
        deformed_head_vertices,
        head_faces,
        closed_faces=closed_head_faces,
        exclude_vertices=cavity,
    )
    return jnp.where(sdf >= LEAK, 0.0, sdf) if reference_leak_filter else sdf


def interpenetration(sdf: Float[Array, "*B H"], tolerance: float = TOLERANCE) -> Interpenetration:
    """Collision and touch from the signed distances of all hand vertices.

    Args:
        sdf: from `hand_signed_distance`, meters, positive inside.
        tolerance: meters.
    """
    return Interpenetration(
        collision_distance=jnp.mean(jnp.maximum(sdf, 0.0), axis=-1),
        non_colliding=jnp.max(sdf, axis=-1) < tolerance,
        touching=jnp.any(jnp.abs(sdf) <= tolerance, axis=-1),
    )


def f_score(
    touchness_ratio: Float[np.ndarray, "*R"], non_collision_ratio: Float[np.ndarray, "*R"]
) -> Float[np.ndarray, "*R"]:
    """Harmonic mean of touchness ratio and non-collision ratio.

    Each ratio alone is easy to maximize: touchness by a hand deep inside the head, non-collision by
    a hand far away.
    """
    both = np.add(touchness_ratio, non_collision_ratio)
    product = np.multiply(touchness_ratio, non_collision_ratio)
    return np.asarray(2.0 * product / np.where(both == 0.0, 1.0, both))
