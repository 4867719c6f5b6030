"""Hand gestures: joint angles, the part of the hand that touches, the part of the face it goes to,
and from where.

Axes of the hand at rest are MANO's: fingers along -x, palm towards -y, thumb towards +z. A finger
bends by a positive rotation about z and spreads towards the thumb by a positive rotation about y.
The head's are FLAME's: x to the person's left, y up, z forward. Names of hand patches are
`<finger>_<part>`, `palm`, `heel` and `back`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals

# First joint of each finger in MANO's order (wrist 0).
FIRST_JOINT = {"index": 1, "middle": 4, "little": 7, "ring": 10, "thumb": 13}
_FINGERS = ("index", "middle", "ring", "little")

# Bend of the first and second joint of a finger, radians; the third follows the second.
_STRAIGHT, _RELAXED, _BENT, _HOOKED, _CURLED = (
    (0.05, 0.10),
    (0.30, 0.45),
    (0.75, 0.80),
    (0.55, 1.15),
    (1.30, 1.55),
)
_DISTAL_SHARE = 0.6
# How far the thumb is folded across the palm: 0 spread out, 1 opposed to the fingers.
_THUMB_ROOT, _THUMB_BEND = np.array([0.25, -0.50, 0.35]), (0.5, 0.7)
_SPREAD = {"index": 0.06, "middle": 0.0, "ring": -0.08, "little": -0.16}


@dataclasses.dataclass(frozen=True)
class Gesture:
    """One way in which a hand meets a face.

    Attributes:
        name: as it is stored with every sample.
        bends: of index, middle, ring and little finger; `*_STRAIGHT` and so on.
        thumb: 0 spread, 1 opposed; negative is stretched away.
        anchor: the hand patch that meets the target.
        regions: of the head, any of which may be the target.
        wrist: where the wrist lies as seen from the target, in the head's axes; only its direction
            counts.
        lift: range of the angle between the touching part and the skin, degrees; the wrist side is
            lifted off.
        also: hand patches that should lie on the skin too, wherever that is.
        conform: 0 if a point of the anchor touches, up to 1 if the whole anchor should lie on the
            skin.
        spread: how far the fingers are spread, 1 relaxed.
        weight: how often, relative to the others.
    """

    name: str
    bends: tuple[tuple[float, float], ...]
    thumb: float
    anchor: str
    regions: tuple[str, ...]
    wrist: tuple[float, float, float]
    lift: tuple[float, float] = (10.0, 45.0)
    also: tuple[str, ...] = ()
    conform: float = 0.0
    spread: float = 1.0
    weight: float = 1.0


_POINT = (_STRAIGHT, _CURLED, _CURLED, _CURLED)
_TWO = (_STRAIGHT, _STRAIGHT, _CURLED, _CURLED)
_FLAT = (_STRAIGHT,) * 4
_SOFT = (_RELAXED,) * 4
_FIST = (_CURLED,) * 4
_CLAW = (_HOOKED,) * 4
_SAME_SIDE = ("cheek_right", "jaw_right", "temple_right")
_FRONT = ("cheek_right", "cheek_left", "chin", "nose", "lips", "jaw_right", "jaw_left")

GESTURES = (
    Gesture(
        "point",
        _POINT,
        0.8,
        "index_pad",
        (*_FRONT, "temple_right", "forehead"),
        (-0.5, -0.9, 0.4),
        (15, 60),
        weight=1.6,
    ),
    Gesture(
        "two_fingers",
        _TWO,
        0.9,
        "index_pad",
        (*_FRONT, "temple_right", "forehead"),
        (-0.6, -0.8, 0.3),
        (10, 45),
        also=("middle_pad",),
        spread=0.6,
        weight=1.3,
    ),
    Gesture(
        "hush", _POINT, 0.9, "index_radial", ("lips",), (-0.25, -1.0, 0.3), (0, 20), conform=0.5
    ),
    Gesture(
        "soft_touch",
        _SOFT,
        0.3,
        "middle_pad",
        (*_FRONT, "temple_right", "forehead", "ear_right"),
        (-0.5, -0.9, 0.3),
        (5, 40),
        also=("index_pad", "ring_pad"),
        conform=0.2,
        weight=1.6,
    ),
    Gesture(
        "pinch",
        (_BENT, _BENT, _BENT, _BENT),
        0.9,
        "index_pad",
        ("chin", "cheek_right", "jaw_right", "lips"),
        (-0.4, -0.8, 0.6),
        (20, 60),
        also=("thumb_pad",),
        weight=1.2,
    ),
    Gesture(
        "chin_stroke",
        (_RELAXED, _BENT, _CURLED, _CURLED),
        0.1,
        "index_palmar",
        ("chin", "jaw_left", "cheek_left"),
        (-0.7, -0.6, 0.4),
        (0, 25),
        also=("thumb_pad",),
        conform=0.4,
        weight=1.2,
    ),
    Gesture(
        "thinker",
        (_STRAIGHT, _CURLED, _CURLED, _CURLED),
        -0.1,
        "index_pad",
        ("cheek_right", "temple_right"),
        (-0.15, -1.0, 0.2),
        (0, 20),
        also=("thumb_pad", "middle_knuckle"),
        conform=0.2,
        weight=1.3,
    ),
    Gesture(
        "fist_chin",
        _FIST,
        0.9,
        "middle_knuckle",
        ("chin", "jaw_right"),
        (-0.25, -1.0, 0.1),
        (20, 80),
        also=("index_knuckle", "ring_knuckle"),
        conform=0.4,
        spread=0.2,
        weight=1.3,
    ),
    Gesture(
        "fist_cheek",
        _FIST,
        0.9,
        "middle_knuckle",
        ("cheek_right", "jaw_right"),
        (-0.4, -1.0, 0.1),
        (0, 50),
        also=("index_knuckle", "ring_knuckle"),
        conform=0.5,
        spread=0.2,
        weight=1.2,
    ),
    Gesture(
        "palm_cheek",
        _SOFT,
        0.2,
        "palm",
        ("cheek_right", "jaw_right", "cheek_left"),
        (-0.35, -1.0, 0.15),
        (0, 15),
        also=("index_palmar", "middle_palmar", "ring_palmar", "little_palmar"),
        conform=0.8,
        weight=1.6,
    ),
    Gesture(
        "chin_rest",
        _SOFT,
        0.0,
        "heel",
        ("chin", "jaw_right"),
        (-0.15, -1.0, 0.1),
        (0, 30),
        also=("index_palmar", "middle_palmar", "ring_palmar"),
        conform=0.5,
        weight=1.2,
    ),
    Gesture(
        "chin_on_back",
        ((0.50, 0.70),) * 4,
        0.3,
        "back",
        ("chin",),
        (-0.9, -0.5, 0.1),
        (0, 20),
        also=("middle_knuckle", "ring_knuckle"),
        conform=0.4,
    ),
    Gesture(
        "back_touch",
        _SOFT,
        0.4,
        "back",
        ("forehead", "cheek_right", "jaw_right"),
        (-0.9, -0.5, 0.3),
        (0, 20),
        also=("middle_knuckle", "index_knuckle"),
        conform=0.5,
        weight=0.7,
    ),
    Gesture(
        "facepalm",
        _SOFT,
        0.3,
        "palm",
        ("nose", "eyelids", "cheek_right"),
        (-0.2, -1.0, 0.5),
        (0, 20),
        also=("index_palmar", "middle_palmar", "ring_palmar"),
        conform=0.6,
        weight=0.9,
    ),
    Gesture(
        "mouth_cover",
        _FLAT,
        0.4,
        "middle_palmar",
        ("lips",),
        (-0.9, -0.5, 0.3),
        (0, 25),
        also=("index_palmar", "ring_palmar"),
        conform=0.5,
        spread=0.4,
        weight=1.2,
    ),
    Gesture(
        "forehead_rest",
        _SOFT,
        0.3,
        "middle_palmar",
        ("forehead", "temple_right"),
        (-0.4, -0.8, 0.5),
        (0, 40),
        also=("index_palmar", "ring_palmar"),
        conform=0.4,
        spread=0.8,
    ),
    Gesture(
        "scratch",
        _CLAW,
        0.3,
        "middle_tip",
        ("cheek_right", "jaw_right", "temple_right", "chin", "forehead", "neck"),
        (-0.5, -0.8, 0.5),
        (10, 60),
        also=("index_tip", "ring_tip"),
        weight=1.2,
    ),
    Gesture(
        "thumb_touch",
        _FIST,
        0.0,
        "thumb_pad",
        ("lips", "chin", "cheek_right", "nose", "jaw_right"),
        (-0.5, -0.8, 0.5),
        (10, 60),
    ),
    Gesture(
        "eye_rub",
        (_BENT, _CURLED, _CURLED, _CURLED),
        0.8,
        "index_pad",
        ("eyelids",),
        (-0.4, -0.9, 0.4),
        (15, 50),
        weight=0.6,
    ),
    Gesture(
        "ear_touch",
        (_RELAXED, _BENT, _BENT, _CURLED),
        0.5,
        "index_pad",
        ("ear_right", "temple_right"),
        (-0.5, -0.9, 0.2),
        (10, 50),
        also=("thumb_pad",),
        weight=0.8,
    ),
    Gesture(
        "finger_bite",
        (_BENT, _CURLED, _CURLED, _CURLED),
        0.6,
        "index_dorsal",
        ("lips", "chin"),
        (-0.5, -0.8, 0.5),
        (10, 50),
        weight=0.6,
    ),
)

# Held near the face without touching it; the anchor is what points to the face.
NEAR_GESTURES = (
    Gesture(
        "wave",
        _FLAT,
        0.0,
        "index_radial",
        ("cheek_right", "temple_right", "ear_right"),
        (-0.3, -1.0, 0.3),
        (0, 60),
    ),
    Gesture(
        "open_near", _SOFT, 0.3, "palm", (*_SAME_SIDE, "lips", "nose"), (-0.4, -0.9, 0.3), (0, 50)
    ),
    Gesture(
        "point_near",
        _POINT,
        0.8,
        "index_tip",
        (*_FRONT, "temple_right"),
        (-0.5, -0.7, 0.6),
        (20, 80),
    ),
    Gesture(
        "victory", _TWO, 0.9, "index_radial", _SAME_SIDE, (-0.3, -1.0, 0.3), (0, 60), spread=2.5
    ),
    Gesture(
        "fist_near",
        _FIST,
        0.9,
        "middle_knuckle",
        (*_SAME_SIDE, "chin"),
        (-0.4, -0.9, 0.3),
        (0, 60),
        spread=0.2,
    ),
    Gesture(
        "thumb_up",
        _FIST,
        -0.3,
        "index_radial",
        (*_SAME_SIDE, "chin"),
        (-0.5, -0.8, 0.4),
        (0, 60),
        spread=0.2,
    ),
)


def gesture_pose(
    gesture: Gesture, rng: np.random.Generator, looseness: float = 1.0
) -> Float[np.ndarray, "45"]:
    """Joint angles of a gesture, jittered: no two people curl their fingers alike.

    Args:
        gesture: the wanted one.
        rng: source of the jitter.
        looseness: 0 for the bare gesture.

    Returns:
        `hand_pose` in MANO's joint order.
    """
    pose = np.zeros((16, 3))
    shared_bend = 0.10 * rng.standard_normal(2)
    for finger, bend in zip(_FINGERS, gesture.bends):
        first = FIRST_JOINT[finger]
        bend = np.asarray(bend) + looseness * (shared_bend + (0.13, 0.16) * rng.standard_normal(2))
        bend = np.clip(bend, (-0.15, 0.0), (1.5, 1.75))
        jitter = looseness * rng.standard_normal(2)
        pose[first, 2], pose[first + 1, 2] = bend
        pose[first + 2, 2] = np.clip(_DISTAL_SHARE * bend[1] + 0.06 * jitter[0], -0.1, 1.1)
        # A bent finger cannot be spread: its tip must still point to the root of the thumb.
        pose[first, 1] = (_SPREAD[finger] * gesture.spread + 0.05 * jitter[1]) * (
            1 - 0.7 * np.clip(bend[0] / 1.4, 0, 1)
        )
    opposition = gesture.thumb + looseness * 0.15 * rng.standard_normal()
    pose[13] = _THUMB_ROOT * opposition + looseness * 0.08 * rng.standard_normal(3)
    for joint, bend in zip((14, 15), _THUMB_BEND):
        pose[joint, 1] = -bend * np.clip(
            opposition + looseness * 0.25 * rng.standard_normal(), -0.3, 1.1
        )
    return pose[1:].ravel()


def pose_limits() -> tuple[Float[np.ndarray, "45"], Float[np.ndarray, "45"]]:
    """Lowest and highest value of each entry of `hand_pose` that a hand can reach, radians."""
    low, high = np.full((16, 3), -0.15), np.full((16, 3), 0.15)
    for finger in _FINGERS:
        joints = FIRST_JOINT[finger] + np.arange(3)
        low[joints, 2], high[joints, 2] = (-0.30, -0.05, -0.15), (1.60, 1.85, 1.20)
        low[joints[0], 1], high[joints[0], 1] = -0.45, 0.45
    low[13], high[13] = (-0.4, -0.9, -0.4), (0.7, 0.5, 0.8)
    low[14:, 1], high[14:, 1] = (-0.8, -1.1), (0.35, 0.5)
    return low[1:].ravel(), high[1:].ravel()


def pose_stiffness() -> Float[np.ndarray, "45"]:
    """How far each entry of `hand_pose` may be bent away from its gesture to fit a face: standard
    deviations, radians.
    """
    sigma = np.full((16, 3), 0.03)
    for finger in _FINGERS:
        joints = FIRST_JOINT[finger] + np.arange(3)
        sigma[joints, 2] = (0.30, 0.25, 0.15)
        sigma[joints[0], 1] = 0.10
    sigma[13], sigma[14:, 1] = 0.15, 0.25
    return sigma[1:].ravel()


def hand_patches(model: BodyModel) -> dict[str, Int[np.ndarray, "_"]]:
    """Vertex ids of the named parts of a hand: which joint moves them, and which way they face at
    rest.
    """
    vertices = np.asarray(model.v_template)
    normals = np.asarray(vertex_normals(model.v_template, model.closed_faces))
    owner = np.asarray(model.lbs_weights).argmax(-1)
    wrist = np.asarray(model.J_regressor[0] @ model.v_template)
    faces_way = lambda direction, cosine: normals @ np.asarray(direction) > cosine
    palmar, dorsal, radial = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    along = wrist[0] - vertices[:, 0]
    masks = {
        "palm": (owner == 0) & faces_way(palmar, 0.7) & (along > 0.035),
        "heel": (owner == 0) & faces_way(palmar, 0.6) & (along > 0.005) & (along < 0.045),
        "back": (owner == 0) & faces_way(dorsal, 0.8) & (along > 0.035),
    }
    for finger, tip in zip(("thumb", *_FINGERS), np.asarray(model.tip_ids)):
        first = FIRST_JOINT[finger]
        bends_to, outer = palmar, dorsal
        if finger == "thumb":
            direction = vertices[tip] - vertices[owner == first].mean(0)
            bends_to = np.cross((0.0, -1.0, 0.0), direction / np.linalg.norm(direction))
            outer = -bends_to
        masks |= {
            f"{finger}_pad": (owner == first + 2) & faces_way(bends_to, 0.5),
            f"{finger}_palmar": (owner >= first) & (owner <= first + 2) & faces_way(bends_to, 0.6),
            f"{finger}_dorsal": (owner == first + 1) & faces_way(outer, 0.6),
            f"{finger}_knuckle": (owner == first) & faces_way(outer, 0.6),
            f"{finger}_radial": (owner > first) & (owner <= first + 2) & faces_way(radial, 0.6),
            f"{finger}_tip": np.linalg.norm(vertices - vertices[tip], axis=-1) < 0.008,
        }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}
