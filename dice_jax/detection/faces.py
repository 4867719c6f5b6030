"""Every face of a photo: in the whole photo, in tiles for small faces, and turned if none is found.

The number of squares that the detector looks at is bounded, whatever the size of the photo.
"""

from __future__ import annotations

import numpy as np

from dice_jax.detection import face_mesh, single_shot
from dice_jax.detection.results import DetectedFace
from dice_jax.detection.squares import Pyramid, Square, around_photo

MIN_SCORE = 0.5
_SAME_FACE = 0.5  # distance of the centers, in face sizes, below which two faces are the same
_MAX_FACES = 16  # that are tracked to landmarks, the surest ones
# Tiles per shorter side of the photo, and how many tiles there may be.
_TILES = ((2, 24), (4, 49), (8, 64))
_QUARTER_TURNS = (np.pi / 2, -np.pi / 2, np.pi)


def find_all(photo: Pyramid) -> list[DetectedFace]:
    """The faces of a photo, the largest first.

    Small tiles are searched only if there is no face of the size that the larger ones show. Turned
    copies of the photo are searched only if it has no upright face.
    """
    whole = around_photo(photo.height, photo.width)
    found = landmarks(photo, single_shot.faces(photo, whole))
    for fraction, limit in _TILES:
        side = min(photo.height, photo.width) / fraction
        if fraction > 2 and found and face_mesh.size(found[0]) > side:
            break
        tiles = _tiles(photo.height, photo.width, side, limit)
        boxes = [box for tile in tiles for box in single_shot.faces(photo, tile)]
        found = without_duplicates(found + landmarks(photo, boxes))
        if fraction == 2 and not found:
            turned = [Square(whole.center, whole.side, angle) for angle in _QUARTER_TURNS]
            boxes = [box for square in turned for box in single_shot.faces(photo, square)]
            found = landmarks(photo, boxes)
    return found


def landmarks(photo: Pyramid, boxes: list[single_shot.Box]) -> list[DetectedFace]:
    """The landmarks of detected faces without duplicates and doubtful ones, the largest first."""
    boxes = single_shot.without_duplicates(boxes)[:_MAX_FACES]
    faces = [face_mesh.find(photo, face_mesh.square_around_box(box)) for box in boxes]
    return without_duplicates([face for face in faces if face.score > MIN_SCORE])


def without_duplicates(faces: list[DetectedFace]) -> list[DetectedFace]:
    """The surest of each group of faces at the same place, the largest first."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        center, size = face.points[:, :2].mean(0), face_mesh.size(face)
        gaps = [np.linalg.norm(center - other.points[:, :2].mean(0)) for other in kept]
        sizes = [max(size, face_mesh.size(other)) for other in kept]
        if all(gap > _SAME_FACE * largest for gap, largest in zip(gaps, sizes)):
            kept.append(face)
    return sorted(kept, key=lambda face: -face_mesh.size(face))


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
