"""Inside tests and signed distances for closed triangle meshes, POSITIVE INSIDE.

A point is inside where the winding number of the surface around it is at least one. This covers
concave shapes, components inside one another and self-intersections. On a closed mesh the winding
number is the number of faces through which any ray leaves minus the number through which it enters.
Rays go along +z here. They never pass between two adjacent faces, because the contribution of an
edge is computed identically for both. Compared with solid angles this needs no arctangent, only a
few multiplications per pair, which vectorize.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry import mesh
from dice_jax.geometry.nearest import blocked, closest_point_on_mesh


def inside(
    points: Float[Array, "*B N 3"], vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Bool[Array, "*B N"]:
    """Whether points lie inside a closed mesh.

    Args:
        points, vertices: meters.
        faces: closed (see `mesh.cap_faces`), counter-clockwise seen from outside. Points below a
            hole get a wrong result.
    """
    return winding_number(points, vertices, faces) > 0


def winding_number(
    points: Float[Array, "*B N 3"], vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Int[Array, "*B N"]:
    """Winding number of a closed mesh: 0 outside, 1 inside, 2 where two components overlap.

    Args:
        points, vertices: meters.
        faces: as in `inside`.
    """
    # Each edge runs from its smaller vertex id to its larger, so that both of its faces compute
    # identical floats.
    start, end = faces, jnp.roll(faces, -1, axis=-1)
    low, high = jnp.minimum(start, end), jnp.maximum(start, end)
    direction = jnp.where(start < end, 1, -1).astype(vertices.dtype)
    lows, highs = mesh.gather_faces(vertices, low), mesh.gather_faces(vertices, high)
    signs = jnp.broadcast_to(direction[..., None], (*lows.shape[:-1], 1))
    half_edges = jnp.moveaxis(jnp.concatenate([lows, highs, signs], axis=-1), -3, -1)
    return blocked(_crossings_above, points, (half_edges,), pairs=faces.shape[0])


def signed_distance(
    points: Float[Array, "*B N 3"],
    vertices: Float[Array, "*B V 3"],
    faces: Int[Array, "F 3"],
    *,
    closed_faces: Int[Array, "G 3"] | None = None,
    exclude_vertices: Bool[Array, "V"] | None = None,
) -> Float[Array, "*B N"]:
    """Exact distance to the surface, meters: positive inside, negative outside.

    Args:
        points, vertices: meters; the distance is differentiable in both.
        faces: the surface to which distances are measured.
        closed_faces: closed mesh on the same vertices that defines the inside (`mesh.cap_faces`);
            by default `faces`.
        exclude_vertices: faces with such a corner do not count as surface, for example in mouth and
            eye cavities; by default all faces count.
    """
    valid = None
    if exclude_vertices is not None:
        counted = ~exclude_vertices[faces].any(-1)
        valid = jnp.broadcast_to(counted, (*vertices.shape[:-2], faces.shape[0]))
    *_, distances = closest_point_on_mesh(points, vertices, faces, valid)
    within = inside(points, vertices, faces if closed_faces is None else closed_faces)
    return jnp.where(within, distances, -distances)


def _crossings_above(
    points: Float[Array, "N 3"], half_edges: Float[Array, "3 7 F"]
) -> Int[Array, "N"]:
    """Signed count of the faces above each point; a half edge is low xyz, high xyz, direction."""
    x, y, z = points[:, 0, None], points[:, 1, None], points[:, 2, None]
    turn = right_x = right_z = left_x = left_z = 0.0
    for half_edge in half_edges:
        low_x, low_y, low_z, high_x, high_y, high_z, direction = half_edge[:, None]
        straddles = (low_y > y) != (high_y > y)
        run = high_y - low_y
        inverse = 1.0 / jnp.where(run == 0.0, 1.0, run)
        along = y - low_y
        cross_x = low_x + along * ((high_x - low_x) * inverse)
        cross_z = low_z + along * ((high_z - low_z) * inverse)
        right = straddles & (cross_x > x)
        left = straddles & ~(cross_x > x)
        turn += jnp.where(right, jnp.where(high_y > low_y, direction, -direction), 0.0)
        right_x += jnp.where(right, cross_x, 0.0)
        right_z += jnp.where(right, cross_z, 0.0)
        left_x += jnp.where(left, cross_x, 0.0)
        left_z += jnp.where(left, cross_z, 0.0)
    # One of the two crossed edges lies left of the point and one right of it, so the height between
    # them is interpolated.
    above = (left_z - z) * (right_x - left_x) + (right_z - left_z) * (x - left_x) > 0.0
    return jnp.where(above, turn, 0.0).sum(-1).astype(jnp.int32)
