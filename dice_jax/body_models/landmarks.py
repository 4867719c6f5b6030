"""The 68 face landmarks of iBUG and the 468 points of MediaPipe's face mesh, and their mirrors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from dice_jax.constants import NUM_FACE_POINTS

# The landmark on the other side of the face for each one, in this order: jaw line, eyebrows,
# bridge of the nose, nostrils, eyes, outer and inner contour of the lips.
MIRRORED_LANDMARKS: Int[np.ndarray, "68"] = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)

# The points of the face mesh that mean the same as iBUG's 68 landmarks.
FACE_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
# The points of the face mesh in the middle of the face. Of all others, those of the person's right
# side have the lower numbers, and their mirror images follow in the same order.
_MIDDLE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)


def _mirrored_face_points() -> Int[np.ndarray, "468"]:
    sides = np.setdiff1d(np.arange(NUM_FACE_POINTS), _MIDDLE)
    right, left = np.split(sides, 2)
    mirrored = np.arange(NUM_FACE_POINTS)
    mirrored[right], mirrored[left] = left, right
    return mirrored


# The point on the other side of the face for each one.
MIRRORED_FACE_POINTS = _mirrored_face_points()
