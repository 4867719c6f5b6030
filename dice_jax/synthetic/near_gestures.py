"""Gestures of a hand that is held near the face, or away from it, without touching.

The anchor is the part of the hand that is nearest to the face.
"""

from __future__ import annotations

from dice_jax.synthetic.gestures import (
    FIST,
    FLAT,
    FRONT,
    POINTING,
    SAME_SIDE,
    SOFT,
    TWO_FINGERS,
    Gesture,
)

NEAR_GESTURES = (
    Gesture(
        "wave",
        flexion=FLAT,
        thumb=0.0,
        anchor="index_radial",
        regions=("cheek_right", "temple_right", "ear_right"),
        wrist_direction=(-0.3, -1.0, 0.3),
        lift_range=(0, 60),
    ),
    Gesture(
        "open_near",
        flexion=SOFT,
        thumb=0.3,
        anchor="palm",
        regions=(*SAME_SIDE, "lips", "nose"),
        wrist_direction=(-0.4, -0.9, 0.3),
        lift_range=(0, 50),
    ),
    Gesture(
        "point_near",
        flexion=POINTING,
        thumb=0.8,
        anchor="index_tip",
        regions=(*FRONT, "temple_right"),
        wrist_direction=(-0.5, -0.7, 0.6),
        lift_range=(20, 80),
    ),
    Gesture(
        "victory",
        flexion=TWO_FINGERS,
        thumb=0.9,
        anchor="index_radial",
        regions=SAME_SIDE,
        wrist_direction=(-0.3, -1.0, 0.3),
        lift_range=(0, 60),
        spread=2.5,
    ),
    Gesture(
        "fist_near",
        flexion=FIST,
        thumb=0.9,
        anchor="middle_knuckle",
        regions=(*SAME_SIDE, "chin"),
        wrist_direction=(-0.4, -0.9, 0.3),
        lift_range=(0, 60),
        spread=0.2,
    ),
    Gesture(
        "thumb_up",
        flexion=FIST,
        thumb=-0.3,
        anchor="index_radial",
        regions=(*SAME_SIDE, "chin"),
        wrist_direction=(-0.5, -0.8, 0.4),
        lift_range=(0, 60),
        spread=0.2,
    ),
)
