"""Exact distances between a hand and a head, restricted to where they are near each other."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.geometry.nearest import closest_point_on_mesh
from dice_jax.geometry.sdf import inside

REACH = 0.014  # meters; what is farther apart does not matter
# Points go in blocks of one length, and triangles are padded to one of a few, so that few shapes
# are compiled.
_POINTS_PER_BLOCK, _FACE_COUNTS = 512, (2048, 4096, 10240)


@dataclasses.dataclass(frozen=True)
class Depths:
    """Where points lie relative to a surface.

    Attributes:
        depth: meters, POSITIVE INSIDE; -inf for points farther from it than REACH.
        faces: (N, 3) corners of the nearest triangle; zeros for points out of reach.
        barycentrics: of the nearest point in it.
    """

    depth: Float[np.ndarray, "N"]
    faces: Int[np.ndarray, "N 3"]
    barycentrics: Float[np.ndarray, "N 3"]


def depths(
    points: Float[np.ndarray, "N 3"],
    vertices: Float[np.ndarray, "V 3"],
    model: BodyModel,
    surface: Bool[np.ndarray, "V"],
) -> Depths:
    """Signed distance of points to a posed model.

    Args:
        points: meters.
        vertices: of the posed model, meters.
        model: gives the triangles; the closed ones decide what is inside.
        surface: vertices that count; triangles with any other corner are no surface.
    """
    count = len(points)
    result = Depths(np.full(count, -np.inf), np.zeros((count, 3), int), np.zeros((count, 3)))
    faces = np.asarray(model.faces)
    faces = faces[surface[faces].all(-1)]
    corners = vertices[faces]
    centers = corners.mean(1)
    radii = np.linalg.norm(corners - centers[:, None], axis=-1).max(-1)
    # A triangle within reach of a point has its center within reach and its own radius of it.
    near_faces = (
        cKDTree(points).query(centers, distance_upper_bound=REACH + radii.max())[0] <= REACH + radii
    )
    if not near_faces.any():
        return result
    faces, centers = faces[near_faces], centers[near_faces]
    distance = cKDTree(centers).query(points, distance_upper_bound=REACH + radii[near_faces].max())[
        0
    ]
    near_points = np.flatnonzero(np.isfinite(distance))
    size = next((size for size in _FACE_COUNTS if size >= len(faces)), len(faces))
    subset = _padded(faces, size).astype(np.int32)
    for start in range(0, len(near_points), _POINTS_PER_BLOCK):
        block = near_points[start : start + _POINTS_PER_BLOCK]
        queries = _padded(points[block], _POINTS_PER_BLOCK).astype(np.float32)
        found = _query(queries, np.asarray(vertices, np.float32), subset, model.closed_faces)
        face_ids, barycentrics, distance, within = (
            np.asarray(array)[: len(block)] for array in found
        )
        signed = np.where(within, distance, -distance)
        result.depth[block] = np.where(distance <= REACH, signed, -np.inf)
        result.faces[block], result.barycentrics[block] = subset[face_ids], barycentrics
    return result


def surface_points(
    vertices: Float[np.ndarray, "V 3"], model: BodyModel
) -> Float[np.ndarray, "N 3"]:
    """Vertices, then triangle centers: twice as dense as the vertices alone."""
    return np.concatenate([vertices, vertices[np.asarray(model.faces)].mean(1)])


def outward_normals(
    vertices: Float[np.ndarray, "V 3"], model: BodyModel
) -> Float[np.ndarray, "V 3"]:
    """Unit vertex normals of a posed model."""
    return np.asarray(_normals(np.asarray(vertices, np.float32), model.closed_faces), np.float64)


_normals = jax.jit(vertex_normals)


@jax.jit
def _query(points, vertices, faces, closed_faces):
    _, face_ids, barycentrics, distance = closest_point_on_mesh(points, vertices, faces)
    return face_ids, barycentrics, distance, inside(points, vertices, closed_faces)


def _padded(rows, size):
    """Repeats the first row until there are `size`."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
