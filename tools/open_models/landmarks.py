"""The 68 iBUG landmarks: anchored to the source mesh, and attached to any remeshing of it.

`data/landmark_anchors.csv` holds one row for a landmark and its mirror image: three base vertices
and their weights. The anchors were placed once. MediaPipe's face mesh detector (Apache-2.0) was run
on a frontal rendering of the average head, the 68 iBUG points were taken from its 468 and made
symmetric, and the jaw contour was spaced evenly along the jaw by hand.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from dice_jax.body_models.simplify import closest_points
from dice_jax.constants import NUM_HEAD_KEYPOINTS

_ANCHORS = Path(__file__).parent / "data" / "landmark_anchors.csv"
_NEAREST = 40  # triangles, by their centers, among which the closest point is searched


def _rows() -> list[dict[str, str]]:
    with _ANCHORS.open(newline="") as file:
        return list(csv.DictReader(file))


def mirror_order() -> np.ndarray:
    """Index (68,) of the mirror image of each landmark."""
    order = np.zeros(NUM_HEAD_KEYPOINTS, int)
    for row in _rows():
        order[int(row["right"])], order[int(row["left"])] = int(row["left"]), int(row["right"])
    return order


def anchor_points(vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Positions (68, 3) of the landmarks on the base mesh.

    Args:
        vertices: (19158, 3) of the base mesh.
        mirror: (19158,) the mirrored vertex.
    """
    points = np.zeros((NUM_HEAD_KEYPOINTS, 3))
    for row in _rows():
        corners = np.array([int(row[f"vertex_{c}"]) for c in "abc"])
        weights = np.array([float(row[f"weight_{c}"]) for c in "abc"])
        points[int(row["left"])] = weights @ vertices[mirror[corners]]
        points[int(row["right"])] = weights @ vertices[corners]
    return points


def attach(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The point of a mesh that is closest to each landmark.

    Args:
        points: (68, 3).
        vertices: (V, 3), same frame and unit.
        faces: (F, 3).
        allowed: (F,) bool, the faces that may contain a landmark.

    Returns:
        Face ids (68,), barycentric coordinates (68, 3) and distances to `points` (68,).
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
