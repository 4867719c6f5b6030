"""Faces that are half out of the photo, or half hidden: the detector sees them, but doubts them.

Low scores are accepted from the detector, and what lies outside the photo is gray for it and for
the face mesh. Both networks then also see faces in noses and folds. A face is believed if the mesh
sees it in several squares, with its points at the same places in each.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from dice_jax.detection import face_mesh, runtime, single_shot
from dice_jax.detection.results import DetectedFace
from dice_jax.detection.squares import Pyramid, Square

# Values chosen by hand on the faces of photos that were cut in the middle.
_MIN_BOX = 0.4  # score of the detector
_MAX_BOXES = 6
_MIN_FIRST = 0.1  # presence below which a square is given up
_MIN_PRESENCE = 0.9  # the geometric mean over the views
_MAX_SPREAD = 0.037  # between the points of the views, in face sizes
_SIDES = (1.0, 1.6)  # of the squares that the detector looks at, in shorter sides of the photo
_PLACES = (0.0, 0.5, 1.0)  # of their centers, in widths and heights of the photo
# The detector often takes the visible part for a smaller face.
_ZOOMS = (1.0, 1.4, 1.8)
# Views of a face: mirrored, turn in radians, zoom.
_VIEWS = (
    (False, 0.3, 1.0),
    (False, -0.3, 1.0),
    (False, 0.0, 1.2),
    (False, 0.0, 0.85),
    (True, 0.0, 1.0),
    (True, 0.2, 1.1),
)


def find(photo: Pyramid) -> list[DetectedFace]:
    """The surest of the faces that are cut by the border or half hidden; an empty list for none."""
    shorter, size = min(photo.height, photo.width), np.array([photo.width, photo.height])
    looks = [
        Square(size * [x, y], side * shorter) for side in _SIDES for x in _PLACES for y in _PLACES
    ]
    boxes = [box for look in looks for box in single_shot.faces(photo, look, _MIN_BOX)]
    best, smallest = None, _MAX_SPREAD
    for box in single_shot.without_duplicates(boxes)[:_MAX_BOXES]:
        square = face_mesh.square_around_box(box)
        for zoom in _ZOOMS:
            zoomed = dataclasses.replace(square, side=zoom * square.side)
            face, spread = _looked_at(photo, zoomed)
            if face.score > _MIN_PRESENCE and spread < smallest:
                best, smallest = face, spread
    return [] if best is None else [best]


def _looked_at(photo: Pyramid, square: Square) -> tuple[DetectedFace, float]:
    """The face that the mesh sees in a square, and how far the points of its views are apart."""
    face = face_mesh.find(photo, square, passes=1, replicate=False)
    if face.score > _MIN_FIRST:
        around = face_mesh.square_around(face.points[:, :2])
        face = face_mesh.find(photo, around, replicate=False)
    if face.score < _MIN_FIRST:
        return face, float("inf")
    around = face_mesh.square_around(face.points[:, :2])
    faces, mirrored = [face], []
    for flip, turn, zoom in _VIEWS:
        view = Square(around.center, zoom * around.side, around.angle + turn, flip)
        (mirrored if flip else faces).append(face_mesh.find(photo, view, passes=1, replicate=False))
    score = runtime.geometric_mean([one.score for one in faces + mirrored])
    # In a mirrored view every point is that of the other side.
    points: Float[np.ndarray, "V 468 2"] = np.stack([one.points[:, :2] for one in faces])
    distance = np.linalg.norm(points - points.mean(0), axis=-1).mean()
    return dataclasses.replace(face, score=score), float(distance / face_mesh.size(face))
