"""Independent references for the geometry tests, in float64 NumPy, and shapes to test on."""

from __future__ import annotations

import jax
import numpy as np
import trimesh

from dice_jax.body_models.assets import load_hand, load_head
from dice_jax.body_models.flame import pose_head
from dice_jax.body_models.mano import pose_hand
from dice_jax.structs import HandParams, HeadParams


def blob(
    rng: np.random.Generator, subdivisions: int = 3, radius: float = 0.1, depth: float = 0.35
) -> trimesh.Trimesh:
    """A closed, smooth, concave shape; its vertices are exact in float32.

    Args:
        subdivisions: of the icosphere that is deformed.
        radius: mean, meters.
        depth: height of the bumps relative to the radius.
    """
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    waves = rng.normal(size=(4, 3)) * 3.0
    phases = rng.uniform(0, 2 * np.pi, 4)
    bumps = np.sin(mesh.vertices @ waves.T + phases).mean(1)
    vertices = (mesh.vertices * (1 + depth * 2 * bumps[:, None]) * radius).astype(np.float32)
    return trimesh.Trimesh(vertices.astype(np.float64), mesh.faces, process=False)


def posed_hand_and_head(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The open hand, posed at random, in front of the open head: vertices (meters) and faces."""
    hand_model, head_model = load_hand(), load_head()
    draw = lambda scale, *shape: (scale * rng.normal(size=shape)).astype(np.float32)
    upright = np.float32([np.pi, 0, 0])
    head = jax.jit(pose_head)(
        head_model,
        HeadParams(
            betas=draw(1.0, 100),
            expression=draw(1.0, 50),
            global_orient=upright + draw(0.1, 3),
            neck_pose=draw(0.1, 3),
            jaw_pose=np.float32([0.15, 0, 0]),
            transl=draw(0.0, 3),
        ),
    ).vertices
    hand = jax.jit(pose_hand)(
        hand_model,
        HandParams(
            betas=draw(1.0, 10),
            global_orient=draw(1.0, 3),
            hand_pose=draw(0.2, 45),
            transl=draw(0.0, 3),
        ),
    ).vertices
    head, hand = (np.asarray(part) - np.asarray(part).mean(0) for part in (head, hand))
    vertices = np.concatenate([hand + np.float32([0.02, 0.05, -0.13]), head])
    faces = np.concatenate([hand_model.faces, np.asarray(head_model.faces) + len(hand)])
    return vertices.astype(np.float32), faces.astype(np.int32)


def rasterize_brute_force(
    vertices_px: np.ndarray, faces: np.ndarray, height: int, width: int, perspective: bool
):
    """A z-buffer in float64, face by face: (face_ids, depth, barycentrics)."""
    vertices_px = np.asarray(vertices_px, np.float64)
    face_ids = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    barycentrics = np.zeros((height, width, 3))
    for face_id, corners in enumerate(vertices_px[faces]):
        if not np.isfinite(corners).all() or (corners[:, 2] <= 0).any():
            continue
        low, high = corners[:, :2].min(0), corners[:, :2].max(0)
        first, last = np.floor(low).astype(int) - 1, np.ceil(high).astype(int) + 1
        columns = np.arange(max(0, first[0]), min(width, last[0]))
        rows = np.arange(max(0, first[1]), min(height, last[1]))
        if not len(columns) or not len(rows):
            continue
        x, y = columns[None, :] + 0.5, rows[:, None] + 0.5
        weights, covered = barycentrics_2d(corners[:, :2], x, y)
        if perspective:
            weights = weights / corners[:, 2]
            weights = weights / np.where(covered, weights.sum(-1), 1.0)[..., None]
        z = weights @ corners[:, 2]
        window = np.ix_(rows, columns)
        nearer = covered & (z < depth[window])
        face_ids[window] = np.where(nearer, face_id, face_ids[window])
        barycentrics[window] = np.where(nearer[..., None], weights, barycentrics[window])
        depth[window] = np.where(nearer, z, depth[window])
    return face_ids, depth, barycentrics


def barycentrics_2d(
    corners: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Barycentrics of points in a 2D triangle, and whether the points are inside it."""
    (ax, ay), (bx, by), (cx, cy) = corners
    determinant = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if determinant == 0:
        shape = np.broadcast_shapes(x.shape, y.shape)
        return np.zeros((*shape, 3)), np.zeros(shape, bool)
    u = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / determinant
    v = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / determinant
    weights = np.stack([1 - u - v, u, v], axis=-1)
    return weights, (weights >= 0).all(-1)


def winding_by_solid_angles(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Generalized winding number in float64 (van Oosterom and Strackee 1983)."""
    corners = np.asarray(vertices, np.float64)[faces]
    numbers = []
    for point in np.asarray(points, np.float64):
        a, b, c = np.moveaxis(corners - point, 1, 0)
        la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
        triple = np.einsum("ij,ij->i", a, np.cross(b, c))
        dots = (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        numbers.append(2 * np.arctan2(triple, la * lb * lc + dots).sum() / (4 * np.pi))
    return np.array(numbers)


def directional_derivative(
    function, arrays: tuple[np.ndarray, ...], directions: tuple[np.ndarray, ...], step: float
):
    """Central difference of a scalar function of float64 arrays along `directions`."""
    forward = function(*(a + step * d for a, d in zip(arrays, directions)))
    backward = function(*(a - step * d for a, d in zip(arrays, directions)))
    return (float(forward) - float(backward)) / (2 * step)
