"""Exact penetration depths between hand and head, restricted to where the two are close."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.geometry.nearest import closest_point_on_mesh
from dice_jax.geometry.sdf import inside

MAX_DISTANCE = 0.014  # meters; depths beyond it are not computed
# Points are processed in blocks of one length, and triangles are padded to one of a few counts, so
# that few shapes are compiled.
_POINTS_PER_BLOCK, _FACE_COUNTS = 512, (2048, 4096, 10240)


@dataclasses.dataclass(frozen=True)
class Penetration:
    """Positions of points relative to a surface.

    Attributes:
        depth: meters, POSITIVE INSIDE; -inf for points farther from the surface than MAX_DISTANCE.
        faces: vertex ids of the nearest triangle; zeros for points that are too far.
        barycentrics: of the nearest point in that triangle.
    """

    depth: Float[np.ndarray, "N"]
    faces: Int[np.ndarray, "N 3"]
    barycentrics: Float[np.ndarray, "N 3"]


def measure_penetration(
    points: Float[np.ndarray, "N 3"],
    vertices: Float[np.ndarray, "V 3"],
    model: BodyModel,
    surface: Bool[np.ndarray, "V"],
) -> Penetration:
    """Penetration depths of points in a posed model.

    Args:
        points: meters.
        vertices: of the posed model, meters.
        model: its closed triangles decide which points are inside.
        surface: the vertices of the surface; a triangle with any other vertex is ignored.
    """
    count = len(points)
    result = Penetration(np.full(count, -np.inf), np.zeros((count, 3), int), np.zeros((count, 3)))
    faces = np.asarray(model.faces)
    faces = faces[surface[faces].all(-1)]
    corners = vertices[faces]
    centers = corners.mean(1)
    radii = np.linalg.norm(corners - centers[:, None], axis=-1).max(-1)
    # The center of a triangle near a point is at most MAX_DISTANCE plus its own radius away.
    limit = MAX_DISTANCE + radii.max()
    near_faces = _distances(centers, points, limit) <= MAX_DISTANCE + radii
    if not near_faces.any():
        return result
    faces, centers = faces[near_faces], centers[near_faces]
    limit = MAX_DISTANCE + radii[near_faces].max()
    near_points = np.flatnonzero(np.isfinite(_distances(points, centers, limit)))
    size = next((size for size in _FACE_COUNTS if size >= len(faces)), len(faces))
    subset = _padded(faces, size).astype(np.int32)
    for start in range(0, len(near_points), _POINTS_PER_BLOCK):
        block = near_points[start : start + _POINTS_PER_BLOCK]
        queries = _padded(points[block], _POINTS_PER_BLOCK).astype(np.float32)
        found = _query(queries, np.asarray(vertices, np.float32), subset, model.closed_faces)
        face_ids, barycentrics, distance, is_inside = (
            np.asarray(array)[: len(block)] for array in found
        )
        signed = np.where(is_inside, distance, -distance)
        result.depth[block] = np.where(distance <= MAX_DISTANCE, signed, -np.inf)
        result.faces[block], result.barycentrics[block] = subset[face_ids], barycentrics
    return result


def surface_points(
    vertices: Float[np.ndarray, "V 3"], model: BodyModel
) -> Float[np.ndarray, "N 3"]:
    """Vertices, then triangle centers: samples of the surface denser than the vertices alone."""
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


def _distances(queries, points, limit):
    """Distance from each query to the nearest point; infinite beyond `limit`."""
    return KDTree(points).query(queries, distance_upper_bound=limit)[0]


def _padded(rows, size):
    """Repeats the first row until there are `size`."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
