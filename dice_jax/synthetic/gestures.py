"""What a gesture is, and the shapes of the fingers that gestures share.

Hand patches are named `<finger>_<part>`, `palm`, `heel` and `back` (see `pose.hand_patches`).
Directions are in the head's axes, which are FLAME's: x to the person's left, y up, z forward.
"""

from __future__ import annotations

import dataclasses
from typing import Any

Flexion = tuple[float, float]  # of the first and second joint of a finger, radians


@dataclasses.dataclass(frozen=True)
class Gesture:
    """One way in which a hand meets a face.

    Attributes:
        name: stored with every sample.
        flexion: of index, middle, ring and little finger.
        thumb: opposition of the thumb: 0 spread, 1 opposed to the fingers, negative extended.
        anchor: the hand patch that meets the target point on the head.
        regions: regions of the head from which the target point is drawn.
        wrist_direction: from the target to the wrist, in the head's axes, any length.
        lift_range: range of the angle between anchor and skin, degrees; the wrist side is raised.
        secondary: at most four more hand patches that are drawn to the skin near them.
        conformity: weight of the term that lays the whole anchor on the skin; 0 for a point
            contact, up to 1.
        spread: scale of the spread between the fingers; 1 is relaxed.
        frequency: how often the gesture is drawn, relative to the others.
        pressure: range of the indentation, relative to the deepest that the skin permits.
        gap: range of the distance to the face where the hand is near, meters; None: as usual.
        expression: what the face does with it: "" anything, "eyes_shut", "mouth_open" or "puffed".
    """

    name: str
    flexion: tuple[Flexion, ...]
    thumb: float
    anchor: str
    regions: tuple[str, ...]
    wrist_direction: tuple[float, float, float]
    lift_range: tuple[float, float] = (10.0, 45.0)
    secondary: tuple[str, ...] = ()
    conformity: float = 0.0
    spread: float = 1.0
    frequency: float = 1.0
    pressure: tuple[float, float] = (0.15, 1.0)
    gap: tuple[float, float] | None = None
    expression: str = ""


STRAIGHT, RELAXED, BENT = (0.05, 0.10), (0.30, 0.45), (0.75, 0.80)
HOOKED, CURLED = (0.55, 1.15), (1.30, 1.55)

POINTING = (STRAIGHT, CURLED, CURLED, CURLED)
TWO_FINGERS = (STRAIGHT, STRAIGHT, CURLED, CURLED)
FLAT = (STRAIGHT,) * 4
SOFT = (RELAXED,) * 4
FIST = (CURLED,) * 4
CLAW = (HOOKED,) * 4

SAME_SIDE = ("cheek_right", "jaw_right", "temple_right")
FRONT = ("cheek_right", "cheek_left", "chin", "nose", "lips", "jaw_right", "jaw_left")
PINCH = (BENT,) * 4

# Directions from the face to the wrist, and pressures.
BELOW, FROM_SIDE, FROM_FRONT = (-0.4, -0.9, 0.4), (-0.9, -0.5, 0.3), (-0.3, -0.8, 0.8)
LIGHT, FIRM = (0.1, 0.5), (0.4, 1.0)


def gesture(
    name: str,
    flexion: tuple[Flexion, ...],
    thumb: float,
    anchor: str,
    regions: tuple[str, ...],
    wrist_direction: tuple[float, float, float],
    lift_range: tuple[float, float],
    frequency: float = 1.0,
    **more: Any,
) -> Gesture:
    """A row of a table of gestures: the fields that all rows state, without their names."""
    return Gesture(
        name,
        flexion,
        thumb,
        anchor,
        regions,
        wrist_direction,
        lift_range,
        frequency=frequency,
        **more,
    )
