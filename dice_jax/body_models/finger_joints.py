"""The joints of the fingers and their range of motion.

The hand's axes at rest are MANO's: fingers along -x, palm facing -y, thumb towards +z. A positive
rotation about z flexes a finger; a positive rotation about y spreads it towards the thumb.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# First joint of each finger in MANO's order (the wrist is joint 0).
FIRST_JOINT = {"index": 1, "middle": 4, "little": 7, "ring": 10, "thumb": 13}
FINGERS = ("index", "middle", "ring", "little")  # without the thumb


def joint_limits() -> tuple[Float[np.ndarray, "45"], Float[np.ndarray, "45"]]:
    """Range of motion: the lowest and the highest value of each entry of `hand_pose`, radians."""
    low, high = np.full((16, 3), -0.15), np.full((16, 3), 0.15)
    for finger in FINGERS:
        joints = FIRST_JOINT[finger] + np.arange(3)
        low[joints, 2], high[joints, 2] = (-0.30, -0.05, -0.15), (1.60, 1.85, 1.20)
        low[joints[0], 1], high[joints[0], 1] = -0.45, 0.45
    low[13], high[13] = (-0.4, -0.9, -0.4), (0.7, 0.5, 0.8)
    low[14:, 1], high[14:, 1] = (-0.8, -1.1), (0.35, 0.5)
    return low[1:].ravel(), high[1:].ravel()
