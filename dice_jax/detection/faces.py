"""Every face of a photo: in the whole photo, in tiles for small faces, and turned if none is found.

The number of squares that the detector looks at is bounded, whatever the size of the photo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dice_jax.detection import cut_faces, face_mesh, runtime, single_shot
from dice_jax.detection.results import DetectedFace
from dice_jax.detection.squares import Pyramid, Square, around_photo

MIN_SCORE = 0.5
SURE = 0.97  # score above which a face is not looked at again
_SURE_BOX = 0.85  # score of a box above which the face is not looked at from other directions
# Other squares in which a doubtful face is looked at: mirrored, turn in radians, zoom.
_VIEWS = ((True, 0.0, 1.0), (False, 0.3, 1.0), (False, -0.3, 1.0), (True, 0.0, 1.2))
_SAME_FACE = 0.5  # distance of the centers, in face sizes, below which two faces are the same
_MAX_FACES = 16  # that are tracked to landmarks, the surest ones
# Tiles per shorter side of the photo, and how many tiles there may be.
_TILES = ((2, 24), (4, 80), (8, 120))
_MIN_TILE = 96.0  # pixels of the photo; smaller tiles would show faces below 15 pixels
_QUARTER_TURNS = (np.pi / 2, -np.pi / 2, np.pi)


def find_all(photo: Pyramid) -> list[DetectedFace]:
    """The faces of a photo, the largest first.

    Small tiles are searched only if there is no face of the size that the larger ones show. Turned
    copies of the photo are searched only if it has no upright face, and faces that its border cuts
    only if it has no whole one.
    """
    whole = around_photo(photo.height, photo.width)
    found = add_landmarks(photo, single_shot.faces(photo, whole), [])
    for fraction, limit in _TILES:
        side = min(photo.height, photo.width) / fraction
        largest = max(map(face_mesh.size, found), default=0.0)
        if fraction > 2 and (side < _MIN_TILE or largest > side):
            break
        tiles = _tiles(photo.height, photo.width, side, limit)
        boxes = [box for tile in tiles for box in single_shot.faces(photo, tile)]
        found = add_landmarks(photo, boxes, found)
        if fraction == 2 and not found:
            turned = [Square(whole.center, whole.side, angle) for angle in _QUARTER_TURNS]
            boxes = [box for square in turned for box in single_shot.faces(photo, square)]
            found = add_landmarks(photo, boxes, [])
    return sorted(found or cut_faces.find(photo), key=lambda face: -face_mesh.size(face))


def add_landmarks(
    photo: Pyramid, boxes: list[single_shot.Box], known: list[DetectedFace]
) -> list[DetectedFace]:
    """The faces found before, and those of new boxes, the surest boxes first; no doubtful ones.

    A face found before stays as it is: a box in a tile may hold only a part of it.
    """
    found = list(known)
    for box in single_shot.without_duplicates(boxes)[:_MAX_FACES]:
        if not _is_known(box.center, box.side, found):
            square = face_mesh.square_around_box(_turned(photo, box))
            face = _verified(photo, face_mesh.find(photo, square))
            center = face.points[:, :2].mean(0)
            if face.score > MIN_SCORE and not _is_known(center, face_mesh.size(face), found):
                found.append(face)
    return found


def _turned(photo: Pyramid, box: single_shot.Box) -> single_shot.Box:
    """The box, or a surer one of the face in a turned copy of the photo.

    The detector doubts faces that are upside down, but it finds them, with wrong keypoints.
    """
    if box.score > _SURE_BOX:
        return box
    looks = [Square(box.center, 2 * box.side, turn) for turn in (0.0, *_QUARTER_TURNS)]
    boxes = [other for look in looks for other in single_shot.faces(photo, look)]
    near = [o for o in boxes if np.linalg.norm(o.center - box.center) < _SAME_FACE * box.side]
    return max([box, *near], key=lambda other: other.score)


def _verified(photo: Pyramid, face: DetectedFace) -> DetectedFace:
    """The face; a doubtful one with the geometric mean of the scores from several squares."""
    if face.score > SURE:
        return face
    square = face_mesh.square_around(face.points[:, :2])
    views = [
        Square(square.center, zoom * square.side, square.angle + turn, mirrored)
        for mirrored, turn, zoom in _VIEWS
    ]
    scores = [face.score, *(face_mesh.find(photo, view, passes=1).score for view in views)]
    return dataclasses.replace(face, score=runtime.geometric_mean(scores))


def _is_known(center: Float[np.ndarray, "2"], size: float, known: Sequence[DetectedFace]) -> bool:
    """Whether a face with this center and size, in pixels, is one that was found before."""
    for face in known:
        gap = np.linalg.norm(center - face.points[:, :2].mean(0))
        if gap < _SAME_FACE * max(size, face_mesh.size(face)):
            return True
    return False


def _tiles(height: int, width: int, side: float, limit: int) -> list[Square]:
    """Squares that overlap by half and cover the photo.

    Args:
        height, width: of the photo, pixels.
        side: of a square, pixels; larger if there would be more than `limit` squares.
        limit: of the number of squares.
    """

    def centers(length: int, side: float) -> list[float]:
        if side >= length:
            return [length / 2]
        count = int(np.ceil(2 * length / side)) - 1
        return np.linspace(side / 2, length - side / 2, max(count, 2)).tolist()

    while len(centers(height, side)) * len(centers(width, side)) > limit:
        side *= 1.1
    return [
        Square(np.array([x, y]), side) for y in centers(height, side) for x in centers(width, side)
    ]
