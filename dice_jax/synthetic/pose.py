"""Joint angles of gestures, and the named patches of a hand.

See `body_models.finger_joints` for the axes of the hand.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from dice_jax.body_models import BodyModel
from dice_jax.body_models.finger_joints import FINGERS, FIRST_JOINT
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.synthetic.gestures import Gesture

_DISTAL_RATIO = 0.6  # flexion of the third joint of a finger, relative to the second
# Thumb at opposition 1: axis-angle of its first joint, flexion of the second and third, radians.
_THUMB_ROOT, _THUMB_FLEXION = np.array([0.25, -0.50, 0.35]), (0.5, 0.7)
_SPREAD = {"index": 0.06, "middle": 0.0, "ring": -0.08, "little": -0.16}  # relaxed, radians


def sample_pose(
    gesture: Gesture, rng: np.random.Generator, variation: float = 1.0
) -> Float[np.ndarray, "45"]:
    """Draws the joint angles of a gesture.

    Args:
        gesture: the mean of the distribution.
        rng: source of randomness.
        variation: scale of the random deviations; 0 gives the gesture itself.

    Returns:
        `hand_pose`: 15 axis-angle rotations in MANO's joint order, radians.
    """
    pose = np.zeros((16, 3))
    common = 0.10 * rng.standard_normal(2)  # shared by all fingers
    for finger, mean in zip(FINGERS, gesture.flexion):
        first = FIRST_JOINT[finger]
        own = (0.13, 0.16) * rng.standard_normal(2)
        flexion = np.clip(np.asarray(mean) + variation * (common + own), (-0.15, 0.0), (1.5, 1.75))
        jitter = variation * rng.standard_normal(2)
        pose[first, 2], pose[first + 1, 2] = flexion
        pose[first + 2, 2] = np.clip(_DISTAL_RATIO * flexion[1] + 0.06 * jitter[0], -0.1, 1.1)
        # A flexed finger cannot be spread: its tip must point to the root of the thumb.
        spread = _SPREAD[finger] * gesture.spread + 0.05 * jitter[1]
        pose[first, 1] = spread * (1 - 0.7 * np.clip(flexion[0] / 1.4, 0, 1))
    opposition = gesture.thumb + variation * 0.15 * rng.standard_normal()
    pose[13] = _THUMB_ROOT * opposition + variation * 0.08 * rng.standard_normal(3)
    for joint, flexion in zip((14, 15), _THUMB_FLEXION):
        noisy = opposition + variation * 0.25 * rng.standard_normal()
        pose[joint, 1] = -flexion * np.clip(noisy, -0.3, 1.1)
    return pose[1:].ravel()


def pose_deviation() -> Float[np.ndarray, "45"]:
    """Standard deviation of each entry of `hand_pose` around its gesture, radians.

    The contact solver penalizes larger changes.
    """
    sigma = np.full((16, 3), 0.03)
    for finger in FINGERS:
        joints = FIRST_JOINT[finger] + np.arange(3)
        sigma[joints, 2] = (0.30, 0.25, 0.15)
        sigma[joints[0], 1] = 0.10
    sigma[13], sigma[14:, 1] = 0.15, 0.25
    return sigma[1:].ravel()


def hand_patches(model: BodyModel) -> dict[str, Int[np.ndarray, "_"]]:
    """Vertex ids of the named patches of a hand.

    A patch is defined by the joint with the largest skinning weight and by the direction of the
    normal at rest.
    """
    vertices = np.asarray(model.v_template)
    normals = np.asarray(vertex_normals(model.v_template, model.closed_faces))
    bone = np.asarray(model.lbs_weights).argmax(-1)
    wrist = np.asarray(model.J_regressor[0] @ model.v_template)
    faces_towards = lambda direction, cosine: normals @ np.asarray(direction) > cosine
    palmar, dorsal, radial = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    from_wrist = wrist[0] - vertices[:, 0]
    heel = (from_wrist > 0.005) & (from_wrist < 0.045)
    masks = {
        "palm": (bone == 0) & faces_towards(palmar, 0.7) & (from_wrist > 0.035),
        "heel": (bone == 0) & faces_towards(palmar, 0.6) & heel,
        "back": (bone == 0) & faces_towards(dorsal, 0.8) & (from_wrist > 0.035),
    }
    for finger, tip in zip(("thumb", *FINGERS), np.asarray(model.tip_ids)):
        first = FIRST_JOINT[finger]
        inner, outer = palmar, dorsal
        if finger == "thumb":
            direction = vertices[tip] - vertices[bone == first].mean(0)
            inner = np.cross((0.0, -1.0, 0.0), direction / np.linalg.norm(direction))
            outer = -inner
        on_finger, beyond_first = (bone >= first) & (bone <= first + 2), bone > first
        masks |= {
            f"{finger}_pad": (bone == first + 2) & faces_towards(inner, 0.5),
            f"{finger}_palmar": on_finger & faces_towards(inner, 0.6),
            f"{finger}_dorsal": (bone == first + 1) & faces_towards(outer, 0.6),
            f"{finger}_knuckle": (bone == first) & faces_towards(outer, 0.6),
            f"{finger}_radial": on_finger & beyond_first & faces_towards(radial, 0.6),
            f"{finger}_tip": np.linalg.norm(vertices - vertices[tip], axis=-1) < 0.008,
        }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}
