"""MediaPipe's face mesh: 468 points of a face in a rotated square around it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dice_jax.constants import NUM_FACE_POINTS
from dice_jax.detection import runtime
from dice_jax.detection.results import DetectedFace
from dice_jax.detection.single_shot import Box
from dice_jax.detection.squares import Pyramid, Square

_OUTER_EYE_CORNERS = (33, 263)  # the person's right and left
_MARGIN = 1.5  # of the square, relative to box or extent of the points


def find(photo: Pyramid, square: Square, passes: int = 2, replicate: bool = True) -> DetectedFace:
    """The landmarks of the face in a square.

    Args:
        photo: to look at.
        square: upright relative to the face, 1.5 times as large as it.
        passes: each after the first looks at a square around the points of the one before, as
            MediaPipe does in the next frame of a video.
        replicate: what is outside the photo, see `Pyramid.cut`. MediaPipe repeats the border; a
            face that is cut by it is seen better with gray.
    """
    spec = runtime.FACE_MESH
    for _ in range(passes):
        pixels = photo.cut(square, spec.size, replicate)
        flat, logit = runtime.network(spec)(pixels)
        points = flat.reshape(NUM_FACE_POINTS, 3).astype(np.float64)
        planar = square.to_photo(points[:, :2], spec.size)
        depth = points[:, 2] * square.side / spec.size
        square = square_around(planar, square.mirrored)
    score = float(runtime.probability(logit.astype(np.float64)).ravel()[0])
    return DetectedFace(np.column_stack([planar, depth]), score)


def square_around_box(box: Box) -> Square:
    """MediaPipe's square for a detected face: the eyes are level."""
    return Square(box.center, _MARGIN * box.side, _angle(box.keypoints[0], box.keypoints[1]))


def square_around(points: Float[np.ndarray, "468 2"], mirrored: bool = False) -> Square:
    """MediaPipe's square for tracking a face: the eyes are level."""
    right, left = _OUTER_EYE_CORNERS
    angle = _angle(points[right], points[left])
    axes = Square(points[0], 1.0, angle).axes()
    level = points @ axes
    low, high = level.min(0), level.max(0)
    return Square(axes @ (low + high) / 2, _MARGIN * float(max(high - low)), angle, mirrored)


def roll(face: DetectedFace) -> float:
    """The angle from the photo's x axis to the line from right to left eye, radians."""
    right, left = _OUTER_EYE_CORNERS
    return _angle(face.points[right, :2], face.points[left, :2])


def size(face: DetectedFace) -> float:
    """The longer side of the face, pixels; turned so that the eyes are level."""
    return square_around(face.points[:, :2]).side / _MARGIN


def _angle(right: Float[np.ndarray, "2"], left: Float[np.ndarray, "2"]) -> float:
    across = left - right
    return float(np.arctan2(across[1], across[0]))
