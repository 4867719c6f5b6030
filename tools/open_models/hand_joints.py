"""Joints of the open hand where those of people are, and skin weights that bend it there.

The rig of the source has its knuckles at the webs between the fingers, 11 mm too far out; the first
joint of the thumb 16 mm; and the middle joints of the fingers close to the skin of the back. Here
the knuckles move into the palm, the other joints to the middle of their cross-section, and
`LENGTHS` scales each bone with its skin.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from tools.open_models import skinning

FINGERS = 5  # index, middle, little, ring and thumb, three joints each, after the wrist
_KNUCKLES = [1, 4, 7, 10]
# From joint to joint and from the last joint to the tip as fractions of the hand's length, in the
# order of the joints (the wrist has none). Lengths of the bones are those of Buryanov and Kotiuk
# (2010), Proportions of hand segments, Int. J. Morphol. 28(3), radiographs of 66 adults, with the
# soft tissue of the tips. A joint turns inside the head of the bone before it (Buchholz, Armstrong
# and Goldstein 1992, Anthropometric data for describing the kinematics of the human hand,
# Ergonomics 35(3)): about 2 mm longer first phalanges, and 3 mm longer last ones. The mesh's last
# phalanges are up to 2 mm longer than that, for the sake of the nails.
LENGTHS = 1e-3 / 0.186 * np.array(
    [
        [40.5, 23.8, 24.0],
        [45.0, 27.3, 24.5],
        [33.5, 18.8, 20.8],
        [42.0, 26.2, 24.3],
        [43.0, 34.5, 28.5],
    ]
)  # fmt: skip
_KNUCKLE_SHIFT = 0.011  # towards the wrist, meters
_KNUCKLE_DEPTH = 0.42  # below the back of the hand, of its thickness
_THUMB_BASE = np.array([-0.021, 0.0, 0.0175])  # from the wrist, x and z; y follows the thickness
_THUMB_BASE_DEPTH = 0.5
_SLAB = 0.005  # half thickness of a cross-section
# Where a bone's share of the skin begins and is complete, meters from the joint along the bone.
_KNUCKLE_FOLD = (-0.012, 0.013)
_THUMB_FOLD = (-0.012, 0.034)
_RAY_RADIUS, _THUMB_RADIUS = 0.009, 0.020
_BESIDE_RAYS = 0.010  # half width of a ray; beyond it, the palm keeps the skin beside the rays


def joint_rows(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights (16, V) of the vertices whose mean is a joint, so that joints follow a shape.

    Args:
        vertices: (V, 3) the mean hand in the canonical frame, meters.
        joints: (16, 3) of the source's rig.
        weights: (V, 16) skinning weights of the source.
    """
    placed = joints.copy()
    for joint in (2, 3, 5, 6, 8, 9, 11, 12, 14, 15):
        first = 3 * ((joint - 1) // 3) + 1
        skin = weights[:, first : first + 3].sum(1) > 0.5
        along = joints[min(joint + 1, first + 2)] - joints[joint - 1]
        placed[joint] = _section_center(vertices[skin], joints[joint], along)
    for knuckle in _KNUCKLES:
        inwards = joints[0] - joints[knuckle]
        shifted = joints[knuckle] + _KNUCKLE_SHIFT * inwards / np.linalg.norm(inwards)
        placed[knuckle] = _at_depth(vertices, shifted, _KNUCKLE_DEPTH)
    placed[13] = _at_depth(vertices, joints[0] + _THUMB_BASE, _THUMB_BASE_DEPTH)
    tree = KDTree(vertices)
    rows = [
        skinning.fit_joint(vertices[None], joint[None], np.asarray(tree.query(joint, 60)[1]))
        for joint in placed
    ]
    return np.stack(rows)


def skin_weights(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Skinning weights (V, 16) that fold at the knuckles, from those of the source.

    The skin of the palm that lies beyond a knuckle goes over to the fingers, each vertex to those
    that it is close to; the ball of the thumb goes over to the thumb.

    Args:
        vertices: (V, 3) the mean hand, meters.
        joints: (16, 3) the new joints.
        weights: (V, 16) of the source.
    """
    closeness, share, distance = np.zeros((3, len(vertices), 4))
    for finger, knuckle in enumerate(_KNUCKLES):
        along, across = _bone_coordinates(vertices, joints[knuckle], joints[knuckle + 1])
        closeness[:, finger] = np.exp(-((across / _RAY_RADIUS) ** 2))
        share[:, finger] = _smooth_step(along, *_KNUCKLE_FOLD)
        distance[:, finger] = across
    closeness = (closeness + 1e-9) / (closeness + 1e-9).sum(1, keepdims=True)
    beside = np.maximum(distance.min(1) - _BESIDE_RAYS, 0) / _RAY_RADIUS
    wanted = (closeness * share).sum(1) * np.exp(-(beside**2))
    result = weights.copy()
    thumb = weights[:, 13:].sum(1)
    before = weights[:, 1:13].sum(1)
    after = np.clip(wanted, before, np.maximum(1 - thumb, before))
    result[:, _KNUCKLES] += (after - before)[:, None] * closeness

    along, across = _bone_coordinates(vertices, joints[13], joints[14])
    wanted = _smooth_step(along, *_THUMB_FOLD) * np.exp(-((across / _THUMB_RADIUS) ** 2))
    free = 1 - result[:, 1:13].sum(1)
    result[:, 13] += np.clip(wanted - thumb, 0, np.maximum(free - thumb, 0))
    result[:, 0] = np.maximum(1 - result[:, 1:].sum(1), 0)
    return result


def stretches(joints: np.ndarray, tips: np.ndarray, hand_length: float) -> np.ndarray:
    """Factors (5, 3) by which the bones of the mean hand have to be scaled to have `LENGTHS`."""
    chains = np.concatenate([joints[1:].reshape(FINGERS, 3, 3), tips[:, None]], 1)
    return LENGTHS * hand_length / np.linalg.norm(np.diff(chains, axis=1), axis=-1)


def _section_center(skin: np.ndarray, joint: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Center of the box around a cross-section of a finger, along its principal axes."""
    axis = along / np.linalg.norm(along)
    local = skin - joint
    height = local @ axis
    section = (local - height[:, None] * axis)[np.abs(height) < _SLAB]
    axes = np.linalg.svd(section - section.mean(0), full_matrices=False)[2][:2]
    box = section @ axes.T
    return joint + (box.max(0) + box.min(0)) / 2 @ axes


def _at_depth(vertices: np.ndarray, point: np.ndarray, depth: float) -> np.ndarray:
    """The point moved along y to a fraction of the thickness between back (0) and palm (1)."""
    near = np.argsort(np.linalg.norm((vertices - point)[:, [0, 2]], axis=1), kind="stable")[:16]
    heights = vertices[near, 1]
    middle = (heights.max() + heights.min()) / 2
    back, palm = heights[heights > middle][:4].mean(), heights[heights <= middle][:4].mean()
    return np.array([point[0], back + depth * (palm - back), point[2]])


def _bone_coordinates(
    vertices: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (V,) along a bone from its joint, and across, in the plane of the palm."""
    bone, local = (end - start)[[0, 2]], (vertices - start)[:, [0, 2]]
    bone = bone / np.linalg.norm(bone)
    return local @ bone, np.abs(local @ [-bone[1], bone[0]])


def _smooth_step(x: np.ndarray, start: float, end: float) -> np.ndarray:
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
