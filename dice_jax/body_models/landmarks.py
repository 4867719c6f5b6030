"""The 68 face landmarks of iBUG under a mirror."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

# The landmark on the other side of the face for each one, in this order: jaw line, eyebrows,
# bridge of the nose, nostrils, eyes, outer and inner contour of the lips.
MIRRORED_LANDMARKS: Int[np.ndarray, "68"] = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)
