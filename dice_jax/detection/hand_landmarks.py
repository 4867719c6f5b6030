"""MediaPipe's hand landmarks: 21 points of a hand in a rotated square around it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dice_jax.constants import NUM_HAND_KEYPOINTS
from dice_jax.detection import runtime
from dice_jax.detection.results import DetectedHand
from dice_jax.detection.single_shot import Box
from dice_jax.detection.squares import Pyramid, Square

# Wrist, thumb, and the lower joints of the fingers, which MediaPipe tracks.
_PALM_POINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_DEPTH_SCALE = 0.4  # of the network's depth, relative to its x and y; from MediaPipe's graph


def find(photo: Pyramid, square: Square) -> DetectedHand:
    """The landmarks that the network sees in a square; `score` says whether there is a hand.

    Args:
        photo: to look at.
        square: upright from the wrist to the knuckles. In a mirrored square a right hand looks like
            a left one.
    """
    spec = runtime.HAND_LANDMARKS
    pixels = photo.cut(square, spec.size, replicate=True)
    flat, presence, right, world = runtime.network(spec)(pixels)
    points = flat.reshape(NUM_HAND_KEYPOINTS, 3).astype(np.float64)
    planar = square.to_photo(points[:, :2], spec.size)
    depth = points[:, 2] * square.side / spec.size / _DEPTH_SCALE
    world = world.reshape(NUM_HAND_KEYPOINTS, 3).astype(np.float64)
    world = np.column_stack([world[:, :2] @ square.axes().T, world[:, 2]])
    is_right = float(right.ravel()[0])
    return DetectedHand(
        points=np.column_stack([planar, depth - depth[0]]),
        world=world,
        score=float(presence.ravel()[0]),
        right=1.0 - is_right if square.mirrored else is_right,
    )


def square_around_palm(palm: Box) -> Square:
    """MediaPipe's square for a detected palm: upright from the wrist to the middle knuckle.

    It is moved by half the palm's side towards the fingers and 2.6 times as large as the palm.
    """
    angle = _upright_angle(palm.keypoints[0], palm.keypoints[2])
    up = np.array([np.sin(angle), -np.cos(angle)])
    return Square(palm.center + 0.5 * palm.side * up, 2.6 * palm.side, angle)


def square_around(points: Float[np.ndarray, "21 2"], mirrored: bool = False) -> Square:
    """MediaPipe's square for tracking: upright from wrist to knuckles, twice the palm's extent."""
    knuckles = 0.25 * (points[5] + points[13]) + 0.5 * points[9]
    angle = _upright_angle(points[0], knuckles)
    axes = Square(points[0], 1.0, angle).axes()
    upright = points[_PALM_POINTS] @ axes
    low, high = upright.min(0), upright.max(0)
    side = float(max(high - low))
    center = (low + high) / 2 - [0, 0.1 * side]
    return Square(axes @ center, 2.0 * max(side, 1e-3), angle, mirrored)


def size(hand: DetectedHand) -> float:
    """The longer side of the points' bounding box, pixels."""
    return float(np.ptp(hand.points[:, :2], axis=0).max())


def _upright_angle(wrist: Float[np.ndarray, "2"], knuckle: Float[np.ndarray, "2"]) -> float:
    """The angle of a square in which the knuckle is above the wrist, radians."""
    along = knuckle - wrist
    return float(np.arctan2(along[1], along[0]) + np.pi / 2)
