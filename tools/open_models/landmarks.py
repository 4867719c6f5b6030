"""The 68 iBUG landmarks, anchored to triangles of the source mesh and carried over to any remeshing
of it.

`data/landmark_anchors.csv` holds one row for a landmark and its mirror image: three base vertices
and their weights. The anchors were placed once: MediaPipe's face mesh detector (Apache-2.0) on a
frontal rendering of the average head, the 68 iBUG points taken from its 468, made symmetric, and
the jaw contour laid evenly along the jaw by hand.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from dice_jax.body_models.simplify import closest_points

_ANCHORS = Path(__file__).parent / "data" / "landmark_anchors.csv"
_NEAREST = 40  # triangles by their center, among which the closest point is sought


def _rows() -> list[dict[str, str]]:
    with _ANCHORS.open(newline="") as file:
        return list(csv.DictReader(file))


def mirror_order() -> np.ndarray:
    """(68,) the landmark on the other side of each one."""
    order = np.zeros(68, int)
    for row in _rows():
        order[int(row["right"])], order[int(row["left"])] = int(row["left"]), int(row["right"])
    return order


def anchor_points(vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(68, 3) landmark positions on the base mesh `vertices` (19158, 3), a mirror table of which is
    `mirror`.
    """
    points = np.zeros((68, 3))
    for row in _rows():
        corners = np.array([int(row[f"vertex_{c}"]) for c in "abc"])
        weights = np.array([float(row[f"weight_{c}"]) for c in "abc"])
        points[int(row["left"])] = weights @ vertices[mirror[corners]]
        points[int(row["right"])] = weights @ vertices[corners]
    return points


def attach(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, allowed: np.ndarray):
    """The point of a mesh that is closest to each landmark.

    Args:
        points: (68, 3).
        vertices: (V, 3), same frame and unit.
        faces: (F, 3).
        allowed: (F,) bool, the faces that may carry a landmark.

    Returns:
        face ids (68,), barycentric coordinates (68, 3) and distances to `points` (68,).
    """
    ids = np.flatnonzero(allowed)
    corners = vertices[faces[ids]]
    centers = corners.mean(1)
    face_ids, coordinates, distances = [], [], []
    for point in points:
        near = np.argsort(np.linalg.norm(centers - point, axis=1), kind="stable")[:_NEAREST]
        weights, distance = closest_points(point, corners[near])
        best = distance.argmin()
        face_ids.append(ids[near[best]])
        coordinates.append(weights[best])
        distances.append(distance[best])
    return np.array(face_ids), np.array(coordinates), np.array(distances)
