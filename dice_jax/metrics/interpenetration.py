"""Physical plausibility: does the hand touch the face, and does it stay out of it (paper sec. 4.1)?"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry.sdf import signed_distance

TOLERANCE = 0.005
LEAK = 0.05


class Interpenetration(NamedTuple):
    """Per sample: mean depth of collision (meters), and whether the hand is free of the head, and
    touches it.
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
    """Signed distance of every hand vertex to the skin of the DEFORMED head, meters, positive
    inside.

    Args:
        hand_vertices, deformed_head_vertices: meters, one frame.
        head_faces: the skin.
        closed_head_faces: the same with the neck closed: they decide what is inside.
        cavity: vertices of the inner mouth and the eye sockets: no skin.
        reference_leak_filter: set distances of 5 cm and more to 0, as the authors' evaluation does
            against the errors of its inside test at the open neck. It makes a hand that is far
            inside the head count as touching and NOT as colliding; the test here has no such
            errors. For comparison with published figures only.
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
    """Collision and touch of one hand with one head, from the signed distances of all hand
    vertices.

    Args:
        sdf: meters, positive inside.
        tolerance: 5 mm.

    Returns:
        collision_distance: mean over ALL hand vertices of their depth inside the head (0 outside);
        non_colliding: no vertex is 5 mm inside or deeper;
        touching: some vertex is within 5 mm of the skin, on either side.
    """
    return Interpenetration(
        collision_distance=jnp.mean(jnp.maximum(sdf, 0.0), axis=-1),
        non_colliding=jnp.max(sdf, axis=-1) < tolerance,
        touching=jnp.any(jnp.abs(sdf) <= tolerance, axis=-1),
    )


def f_score(
    touchness_ratio: Float[np.ndarray, "*R"], non_collision_ratio: Float[np.ndarray, "*R"]
) -> Float[np.ndarray, "*R"]:
    """Harmonic mean of the two ratios: either is easy to have alone, by a hand far away or deep
    inside.
    """
    both = np.add(touchness_ratio, non_collision_ratio)
    return (
        2.0 * np.multiply(touchness_ratio, non_collision_ratio) / np.where(both == 0.0, 1.0, both)
    )
