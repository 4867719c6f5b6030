"""Hands that are in view but not at the face: away from the head, or beside and behind it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from dice_jax.synthetic.contact_solver import FOREARM

# Boxes of the middle of the hand in the head's axes, meters: x to the person's left, y up, z
# forward. The right hand is at negative x.
_BOXES = {
    "far": (((-0.40, -0.42, 0.02), (0.16, 0.05, 0.38)),),
    "beside": (
        ((-0.30, -0.18, -0.16), (-0.13, 0.16, 0.06)),  # beside ear and neck
        ((-0.16, -0.12, -0.30), (0.10, 0.12, -0.15)),  # behind the head
        ((-0.16, 0.15, -0.12), (0.08, 0.26, 0.06)),  # above it
    ),
}
_CLEARANCE = {"far": 0.06, "beside": 0.012}  # meters between hand and skin
_WRIST_BEND = (0.45, 0.25)  # standard deviations of flexion and deviation, radians
_ARM_POINTS = np.linspace(0.15, 1.0, 6)[:, None]  # of the forearm, from the wrist
_ARM_RADIUS = 0.05


def sample_wrist(
    placement: str,
    shoulder: Float[np.ndarray, "3"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Draws the rotation of a hand, the position of its middle and the direction to the elbow.

    The forearm comes from about where an elbow can be; the hand turns around it as it likes.

    Args:
        placement: "far" or "beside".
        shoulder: meters.
        rng: source of randomness.

    Returns:
        Rotation matrix from the hand's axes, the middle of the hand, and a unit vector.
    """
    boxes = _BOXES[placement]
    low, high = boxes[rng.integers(len(boxes))]
    middle = rng.uniform(low, high)
    hanging_elbow = shoulder + (-0.06, -0.24, 0.12)
    to_elbow = hanging_elbow - middle
    to_elbow = to_elbow / np.linalg.norm(to_elbow) + 0.35 * rng.standard_normal(3)
    to_elbow /= np.linalg.norm(to_elbow)
    # The hand's x axis points to the wrist; the palm, -y, faces any direction.
    side = np.cross(to_elbow, rng.standard_normal(3))
    side /= np.linalg.norm(side)
    straight = np.stack([to_elbow, np.cross(side, to_elbow), side], 1)
    flexion, deviation = np.clip(rng.standard_normal(2), -1.6, 1.6) * _WRIST_BEND
    bend = Rotation.from_euler("zy", [flexion, deviation]).as_matrix()
    return straight @ bend, middle, to_elbow


def is_clear(
    placement: str,
    hand_vertices: Float[np.ndarray, "778 3"],
    elbow: Float[np.ndarray, "3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    head_normals: Float[np.ndarray, "5023 3"],
) -> bool:
    """Whether hand and forearm are outside of the head and keep their distance."""
    wrist = hand_vertices[np.argmin(np.linalg.norm(hand_vertices - elbow, axis=-1))]
    forearm = wrist + _ARM_POINTS * (elbow - wrist)
    clearance = np.concatenate(
        [np.full(len(hand_vertices), _CLEARANCE[placement]), np.full(len(forearm), _ARM_RADIUS)]
    )
    points = np.concatenate([hand_vertices, forearm])
    distance, nearest = KDTree(head_vertices).query(points)
    outside = ((points - head_vertices[nearest]) * head_normals[nearest]).sum(-1) > 0
    return bool((outside & (distance > clearance)).all())


def elbow_from(
    wrist: Float[np.ndarray, "3"], to_elbow: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """The elbow at the end of a forearm, meters."""
    return wrist + FOREARM * to_elbow
