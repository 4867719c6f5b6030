"""Exact penetration depths between hand and head, restricted to where the two are close."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.geometry.sdf import inside

MAX_DISTANCE = 0.014  # meters; depths beyond it are not computed
# A triangle is sought among this many with the nearest centers.
_CANDIDATES = 24
# Points are processed in blocks of one length, and triangles are padded to one of a few counts, so
# that few shapes are compiled.
_POINTS_PER_BLOCK, _FACE_COUNTS = 512, (1024, 2048, 4096, 10240)


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
    near_faces = np.flatnonzero(_distances(centers, points, limit) <= MAX_DISTANCE + radii)
    if not len(near_faces):
        return result
    faces, centers, corners = faces[near_faces], centers[near_faces], corners[near_faces]
    tree, candidates = KDTree(centers), min(_CANDIDATES, len(faces))
    limit = MAX_DISTANCE + radii[near_faces].max()
    near = np.flatnonzero(np.isfinite(tree.query(points, distance_upper_bound=limit)[0]))
    nearest = np.reshape(tree.query(points[near], k=candidates)[1], (len(near), candidates))
    face_ids, barycentrics, distance = _closest(points[near], corners, nearest)
    close = distance <= MAX_DISTANCE
    near, face_ids, barycentrics = near[close], face_ids[close], barycentrics[close]
    if not len(near):
        return result
    signed = np.where(_inside(points[near], vertices, model), 1, -1) * distance[close]
    result.depth[near], result.faces[near] = signed, faces[face_ids]
    result.barycentrics[near] = barycentrics
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


def _closest(points, corners, candidates):
    """The nearest of the candidate triangles (N, K) of each point, barycentrics and distance."""
    # Ericson (2005), Real-time collision detection, section 5.1.5.
    a, b, c = (corners[candidates, k] for k in range(3))
    ab, ac, ap = b - a, c - a, points[:, None] - a
    dot = lambda first, second: np.einsum("nkc,nkc->nk", first, second)
    d1, d2 = dot(ab, ap), dot(ac, ap)
    aa, cc, mixed = dot(ab, ab), dot(ac, ac), dot(ab, ac)
    d3, d4, d5, d6 = d1 - aa, d2 - mixed, d1 - mixed, d2 - cc
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    ratio = lambda x, y: x / np.where(np.abs(y) > 1e-30, y, 1e-30)
    along_bc, zero = np.clip(ratio(d4 - d3, (d4 - d3) + (d5 - d6)), 0, 1), np.zeros_like(d1)
    cases = (
        (ratio(vb, va + vb + vc), ratio(vc, va + vb + vc)),
        (np.clip(ratio(d1, aa), 0, 1), zero),
        (zero, np.clip(ratio(d2, cc), 0, 1)),
        (1 - along_bc, along_bc),
    )
    outside = (va <= 0) | (vb <= 0) | (vc <= 0)
    best, weights = np.full(d1.shape, np.inf), np.zeros((*d1.shape, 2))
    for index, (one, two) in enumerate(cases):
        offset = ap - one[..., None] * ab - two[..., None] * ac
        squared = dot(offset, offset)
        # The foot of the perpendicular counts if it is in the triangle, the edges if it is not.
        squared = np.where(outside if index == 0 else ~outside, np.inf, squared)
        better = squared < best
        best = np.where(better, squared, best)
        weights = np.where(better[..., None], np.stack([one, two], -1), weights)
    chosen = best.argmin(1)
    rows = np.arange(len(points))
    v, w = weights[rows, chosen].T
    return candidates[rows, chosen], np.stack([1 - v - w, v, w], 1), np.sqrt(best[rows, chosen])


def _inside(points, vertices, model):
    """Which points are inside of the closed mesh; looks at the triangles above them only."""
    faces = np.asarray(model.closed_faces)
    corners = vertices[faces]
    low, high = points.min(0), points.max(0)
    above = (corners.max(1) >= low).all(-1) & (corners[..., :2].min(1) <= high[:2]).all(-1)
    faces = faces[above]
    size = next((size for size in _FACE_COUNTS if size >= len(faces)), len(faces))
    # A triangle with three equal corners has no points below it.
    subset = np.concatenate([faces, np.zeros((size - len(faces), 3), int)]).astype(np.int32)
    found = []
    for start in range(0, len(points), _POINTS_PER_BLOCK):
        block = points[start : start + _POINTS_PER_BLOCK]
        queries = _padded(block, _POINTS_PER_BLOCK).astype(np.float32)
        found.append(np.asarray(_query(queries, vertices.astype(np.float32), subset))[: len(block)])
    return np.concatenate(found)


_query = jax.jit(inside)


def _distances(queries, points, limit):
    """Distance from each query to the nearest point; infinite beyond `limit`."""
    return KDTree(points).query(queries, distance_upper_bound=limit)[0]


def _padded(rows, size):
    """Repeats the first row until there are `size`."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
