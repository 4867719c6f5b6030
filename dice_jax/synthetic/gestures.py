"""Table of hand gestures: finger flexion, the hand patch and the head region that touch, approach.

Hand patches are named `<finger>_<part>`, `palm`, `heel` and `back` (see `pose.hand_patches`).
Directions are in the head's axes, which are FLAME's: x to the person's left, y up, z forward.
"""

from __future__ import annotations

import dataclasses

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


_STRAIGHT, _RELAXED, _BENT = (0.05, 0.10), (0.30, 0.45), (0.75, 0.80)
_HOOKED, _CURLED = (0.55, 1.15), (1.30, 1.55)

_POINTING = (_STRAIGHT, _CURLED, _CURLED, _CURLED)
_TWO_FINGERS = (_STRAIGHT, _STRAIGHT, _CURLED, _CURLED)
_FLAT = (_STRAIGHT,) * 4
_SOFT = (_RELAXED,) * 4
_FIST = (_CURLED,) * 4
_CLAW = (_HOOKED,) * 4

_SAME_SIDE = ("cheek_right", "jaw_right", "temple_right")
_FRONT = ("cheek_right", "cheek_left", "chin", "nose", "lips", "jaw_right", "jaw_left")

GESTURES = (
    Gesture(
        "point",
        flexion=_POINTING,
        thumb=0.8,
        anchor="index_pad",
        regions=(*_FRONT, "temple_right", "forehead"),
        wrist_direction=(-0.5, -0.9, 0.4),
        lift_range=(15, 60),
        frequency=1.6,
    ),
    Gesture(
        "two_fingers",
        flexion=_TWO_FINGERS,
        thumb=0.9,
        anchor="index_pad",
        regions=(*_FRONT, "temple_right", "forehead"),
        wrist_direction=(-0.6, -0.8, 0.3),
        lift_range=(10, 45),
        secondary=("middle_pad",),
        spread=0.6,
        frequency=1.3,
    ),
    Gesture(
        "hush",
        flexion=_POINTING,
        thumb=0.9,
        anchor="index_radial",
        regions=("lips",),
        wrist_direction=(-0.25, -1.0, 0.3),
        lift_range=(0, 20),
        conformity=0.5,
    ),
    Gesture(
        "soft_touch",
        flexion=_SOFT,
        thumb=0.3,
        anchor="middle_pad",
        regions=(*_FRONT, "temple_right", "forehead", "ear_right"),
        wrist_direction=(-0.5, -0.9, 0.3),
        lift_range=(5, 40),
        secondary=("index_pad", "ring_pad"),
        conformity=0.2,
        frequency=1.6,
    ),
    Gesture(
        "pinch",
        flexion=(_BENT,) * 4,
        thumb=0.9,
        anchor="index_pad",
        regions=("chin", "cheek_right", "jaw_right", "lips"),
        wrist_direction=(-0.4, -0.8, 0.6),
        lift_range=(20, 60),
        secondary=("thumb_pad",),
        frequency=1.2,
    ),
    Gesture(
        "chin_stroke",
        flexion=(_RELAXED, _BENT, _CURLED, _CURLED),
        thumb=0.1,
        anchor="index_palmar",
        regions=("chin", "jaw_left", "cheek_left"),
        wrist_direction=(-0.7, -0.6, 0.4),
        lift_range=(0, 25),
        secondary=("thumb_pad",),
        conformity=0.4,
        frequency=1.2,
    ),
    Gesture(
        "thinker",
        flexion=_POINTING,
        thumb=-0.1,
        anchor="index_pad",
        regions=("cheek_right", "temple_right"),
        wrist_direction=(-0.15, -1.0, 0.2),
        lift_range=(0, 20),
        secondary=("thumb_pad", "middle_knuckle"),
        conformity=0.2,
        frequency=1.3,
    ),
    Gesture(
        "fist_chin",
        flexion=_FIST,
        thumb=0.9,
        anchor="middle_knuckle",
        regions=("chin", "jaw_right"),
        wrist_direction=(-0.25, -1.0, 0.1),
        lift_range=(20, 80),
        secondary=("index_knuckle", "ring_knuckle"),
        conformity=0.4,
        spread=0.2,
        frequency=1.3,
    ),
    Gesture(
        "fist_cheek",
        flexion=_FIST,
        thumb=0.9,
        anchor="middle_knuckle",
        regions=("cheek_right", "jaw_right"),
        wrist_direction=(-0.4, -1.0, 0.1),
        lift_range=(0, 50),
        secondary=("index_knuckle", "ring_knuckle"),
        conformity=0.5,
        spread=0.2,
        frequency=1.2,
    ),
    Gesture(
        "palm_cheek",
        flexion=_SOFT,
        thumb=0.2,
        anchor="palm",
        regions=("cheek_right", "jaw_right", "cheek_left"),
        wrist_direction=(-0.35, -1.0, 0.15),
        lift_range=(0, 15),
        secondary=("index_palmar", "middle_palmar", "ring_palmar", "little_palmar"),
        conformity=0.8,
        frequency=1.6,
    ),
    Gesture(
        "chin_rest",
        flexion=_SOFT,
        thumb=0.0,
        anchor="heel",
        regions=("chin", "jaw_right"),
        wrist_direction=(-0.15, -1.0, 0.1),
        lift_range=(0, 30),
        secondary=("index_palmar", "middle_palmar", "ring_palmar"),
        conformity=0.5,
        frequency=1.2,
    ),
    Gesture(
        "chin_on_back",
        flexion=((0.5, 0.7),) * 4,
        thumb=0.3,
        anchor="back",
        regions=("chin",),
        wrist_direction=(-0.9, -0.5, 0.1),
        lift_range=(0, 20),
        secondary=("middle_knuckle", "ring_knuckle"),
        conformity=0.4,
    ),
    Gesture(
        "back_touch",
        flexion=_SOFT,
        thumb=0.4,
        anchor="back",
        regions=("forehead", "cheek_right", "jaw_right"),
        wrist_direction=(-0.9, -0.5, 0.3),
        lift_range=(0, 20),
        secondary=("middle_knuckle", "index_knuckle"),
        conformity=0.5,
        frequency=0.7,
    ),
    Gesture(
        "facepalm",
        flexion=_SOFT,
        thumb=0.3,
        anchor="palm",
        regions=("nose", "eyelids", "cheek_right"),
        wrist_direction=(-0.2, -1.0, 0.5),
        lift_range=(0, 20),
        secondary=("index_palmar", "middle_palmar", "ring_palmar"),
        conformity=0.6,
        frequency=0.9,
    ),
    Gesture(
        "mouth_cover",
        flexion=_FLAT,
        thumb=0.4,
        anchor="middle_palmar",
        regions=("lips",),
        wrist_direction=(-0.9, -0.5, 0.3),
        lift_range=(0, 25),
        secondary=("index_palmar", "ring_palmar"),
        conformity=0.5,
        spread=0.4,
        frequency=1.2,
    ),
    Gesture(
        "forehead_rest",
        flexion=_SOFT,
        thumb=0.3,
        anchor="middle_palmar",
        regions=("forehead", "temple_right"),
        wrist_direction=(-0.4, -0.8, 0.5),
        lift_range=(0, 40),
        secondary=("index_palmar", "ring_palmar"),
        conformity=0.4,
        spread=0.8,
    ),
    Gesture(
        "scratch",
        flexion=_CLAW,
        thumb=0.3,
        anchor="middle_tip",
        regions=(*_SAME_SIDE, "chin", "forehead", "neck"),
        wrist_direction=(-0.5, -0.8, 0.5),
        lift_range=(10, 60),
        secondary=("index_tip", "ring_tip"),
        frequency=1.2,
    ),
    Gesture(
        "thumb_touch",
        flexion=_FIST,
        thumb=0.0,
        anchor="thumb_pad",
        regions=("lips", "chin", "cheek_right", "nose", "jaw_right"),
        wrist_direction=(-0.5, -0.8, 0.5),
        lift_range=(10, 60),
    ),
    Gesture(
        "eye_rub",
        flexion=(_BENT, _CURLED, _CURLED, _CURLED),
        thumb=0.8,
        anchor="index_pad",
        regions=("eyelids",),
        wrist_direction=(-0.4, -0.9, 0.4),
        lift_range=(15, 50),
        frequency=0.6,
    ),
    Gesture(
        "ear_touch",
        flexion=(_RELAXED, _BENT, _BENT, _CURLED),
        thumb=0.5,
        anchor="index_pad",
        regions=("ear_right", "temple_right"),
        wrist_direction=(-0.5, -0.9, 0.2),
        lift_range=(10, 50),
        secondary=("thumb_pad",),
        frequency=0.8,
    ),
    Gesture(
        "finger_bite",
        flexion=(_BENT, _CURLED, _CURLED, _CURLED),
        thumb=0.6,
        anchor="index_dorsal",
        regions=("lips", "chin"),
        wrist_direction=(-0.5, -0.8, 0.5),
        lift_range=(10, 50),
        frequency=0.6,
    ),
)

# The hand is held near the face without touching it; the anchor is the part nearest to the face.
NEAR_GESTURES = (
    Gesture(
        "wave",
        flexion=_FLAT,
        thumb=0.0,
        anchor="index_radial",
        regions=("cheek_right", "temple_right", "ear_right"),
        wrist_direction=(-0.3, -1.0, 0.3),
        lift_range=(0, 60),
    ),
    Gesture(
        "open_near",
        flexion=_SOFT,
        thumb=0.3,
        anchor="palm",
        regions=(*_SAME_SIDE, "lips", "nose"),
        wrist_direction=(-0.4, -0.9, 0.3),
        lift_range=(0, 50),
    ),
    Gesture(
        "point_near",
        flexion=_POINTING,
        thumb=0.8,
        anchor="index_tip",
        regions=(*_FRONT, "temple_right"),
        wrist_direction=(-0.5, -0.7, 0.6),
        lift_range=(20, 80),
    ),
    Gesture(
        "victory",
        flexion=_TWO_FINGERS,
        thumb=0.9,
        anchor="index_radial",
        regions=_SAME_SIDE,
        wrist_direction=(-0.3, -1.0, 0.3),
        lift_range=(0, 60),
        spread=2.5,
    ),
    Gesture(
        "fist_near",
        flexion=_FIST,
        thumb=0.9,
        anchor="middle_knuckle",
        regions=(*_SAME_SIDE, "chin"),
        wrist_direction=(-0.4, -0.9, 0.3),
        lift_range=(0, 60),
        spread=0.2,
    ),
    Gesture(
        "thumb_up",
        flexion=_FIST,
        thumb=-0.3,
        anchor="index_radial",
        regions=(*_SAME_SIDE, "chin"),
        wrist_direction=(-0.5, -0.8, 0.4),
        lift_range=(0, 60),
        spread=0.2,
    ),
)
