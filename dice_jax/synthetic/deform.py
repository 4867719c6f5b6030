"""How the skin gives way: the hand is set to a depth the tissue allows, then the skin is pushed out
of the hand.

Every skin vertex may recede along its own smoothed inward normal. How far is the least smooth field
that covers all of the hand's depths: around each point of the hand that is inside, a bell of the
tissue's width and that height, and of all bells the highest. What still overlaps is measured on the
full meshes and covered again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from dice_jax.body_models import BodyModel
from dice_jax.synthetic import proximity
from dice_jax.synthetic.start import HeadSkin

CONTACT_DISTANCE = 0.004  # meters between a vertex and the other surface
TOLERANCE = 0.001  # meters that hand and skin may still overlap

_ROUNDS = 8
_SEAT_ROUNDS = 4
_SLACK = 0.0004  # meters: overlap that is not worth another round
_FIRST_WIDTH, _LATER_WIDTH = (
    (0.004, 0.007),
    0.004,
)  # meters: bell width on bone, more on soft tissue; for corrections
_NORMAL_RADIUS = 0.015
_SKIN_RANGE = 0.03  # meters from the hand within which skin moves


@dataclasses.dataclass(frozen=True)
class Dent:
    """Skin pushed out of a hand.

    Attributes:
        deformations: meters, to be subtracted from the head's vertices.
        hand_contact, head_contact: vertices within CONTACT_DISTANCE of the other surface.
        overlap: meters that hand and skin still overlap at most.
    """

    deformations: Float[np.ndarray, "5023 3"]
    hand_contact: Bool[np.ndarray, "778"]
    head_contact: Bool[np.ndarray, "5023"]
    overlap: float


def seat(
    hand_vertices: Float[np.ndarray, "778 3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    press: float,
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
) -> Float[np.ndarray, "3"] | None:
    """How to move a hand so that it presses as deep as wanted, but nowhere deeper than the tissue
    allows.

    Args:
        hand_vertices, head_vertices: meters, before any deformation.
        press: wanted depth of the deepest point, meters.
        hand, head, skin: the models.

    Returns:
        Translation, meters; None if a short way out or in does not do.
    """
    shift = np.zeros(3)
    points = proximity.surface_points(hand_vertices, hand)
    normals = proximity.outward_normals(head_vertices, head)
    for _ in range(_SEAT_ROUNDS):
        found = proximity.depths(points + shift, head_vertices, head, skin.touchable)
        give = (skin.give[found.faces] * found.barycentrics).sum(-1)
        allowed = np.minimum(give, press)
        # The point that is deepest compared with what it may be decides, in or out.
        worst = int(np.argmax(found.depth - allowed))
        excess = found.depth[worst] - allowed[worst]
        if not np.isfinite(excess):
            return None
        if abs(excess) < 0.0002:
            break
        deep = np.flatnonzero(found.depth - allowed > min(0.5 * excess, excess - 0.001))
        outward = (normals[found.faces[deep]] * found.barycentrics[deep, :, None]).sum((0, 1))
        shift += excess * outward / max(np.linalg.norm(outward), 1e-9)
    return shift if np.linalg.norm(shift) < 0.012 else None


def press_skin(
    hand_vertices: Float[np.ndarray, "778 3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
) -> Dent:
    """Pushes the skin out of the hand and labels what touches.

    Args:
        hand_vertices, head_vertices: meters, the hand seated.
        hand, head, skin: the models.
    """
    head_vertices = np.asarray(head_vertices, np.float64)
    inward, near = _inward(hand_vertices, head_vertices, head, skin)
    softness = 1 - np.asarray(head.stiffness, np.float64)
    points = proximity.surface_points(hand_vertices, hand)
    whole_hand = np.ones(len(hand_vertices), bool)
    recede = np.zeros(len(head_vertices))
    for round_index in range(_ROUNDS + 1):
        deformed = head_vertices + recede[:, None] * inward
        from_hand = proximity.depths(points, deformed, head, skin.touchable)
        from_head = proximity.depths(deformed[near], hand_vertices, hand, whole_hand)
        overlap = max(
            from_hand.depth.max(initial=-np.inf), from_head.depth.max(initial=-np.inf), 0.0
        )
        if overlap < _SLACK or round_index == _ROUNDS:
            break
        recede += _cover(from_hand, from_head, deformed, inward, near, softness, round_index)
    count = len(hand_vertices)
    head_contact = np.zeros(len(head_vertices), bool)
    head_contact[near] = from_head.depth > -CONTACT_DISTANCE
    return Dent(
        deformations=-recede[:, None] * inward,
        hand_contact=from_hand.depth[:count] > -CONTACT_DISTANCE,
        head_contact=head_contact,
        overlap=float(overlap),
    )


def is_plausible(dent: Dent, skin: HeadSkin) -> bool:
    """Whether hand and skin touch, hardly overlap, and no skin is pushed farther than the tissue
    gives.
    """
    depth = np.linalg.norm(dent.deformations, axis=-1)
    within = (depth <= 1.25 * skin.give + 0.002).all()
    touches = dent.hand_contact.sum() >= 3 and dent.head_contact.any()
    return bool(dent.overlap < 0.9 * TOLERANCE and within and touches)


def _inward(hand_vertices, head_vertices, head, skin):
    """The direction in which each vertex recedes, and which vertices may: skin near the hand."""
    normals = proximity.outward_normals(head_vertices, head)
    distance = cKDTree(hand_vertices).query(head_vertices, distance_upper_bound=_SKIN_RANGE)[0]
    near = np.flatnonzero(skin.touchable & np.isfinite(distance))
    smooth = normals.copy()
    if len(near):
        weights = _bells(head_vertices[near], head_vertices[near], _NORMAL_RADIUS)
        weights *= np.clip(normals[near] @ normals[near].T, 0, 1) * skin.areas[near]
        smooth[near] = weights @ normals[near]
        smooth[near] /= np.linalg.norm(smooth[near], axis=-1, keepdims=True)
    return -smooth, near


def _cover(from_hand, from_head, deformed, inward, near, softness, round_index):
    """How much farther each vertex must recede so that nothing overlaps where the hand was found
    inside.
    """
    more = np.zeros(len(deformed))
    inside = np.flatnonzero(from_hand.depth > _SLACK / 2)
    faces, weights, depth = (
        from_hand.faces[inside],
        from_hand.barycentrics[inside],
        from_hand.depth[inside] + _SLACK / 4,
    )
    # The corners of the triangle that is pierced recede by the least that clears it, however large
    # the triangle.
    np.maximum.at(more, faces, depth[:, None] * weights / (weights**2).sum(-1, keepdims=True))
    centers = (deformed[faces] * weights[..., None]).sum(1)
    softness_there = (softness[faces] * weights).sum(-1)
    directions = (inward[faces] * weights[..., None]).sum(1)

    # Skin inside the hand leaves it along its own way, which is longer than the shortest way out.
    stuck = near[from_head.depth > _SLACK / 2]
    stuck_depth = 1.3 * from_head.depth[from_head.depth > _SLACK / 2]
    centers = np.concatenate([centers, deformed[stuck]])
    depth = np.concatenate([depth, stuck_depth])
    softness_there = np.concatenate([softness_there, softness[stuck]])
    directions = np.concatenate([directions, inward[stuck]])
    if len(centers) == 0:
        return more
    width = _FIRST_WIDTH[0] + _FIRST_WIDTH[1] * softness_there if round_index == 0 else _LATER_WIDTH
    bells = (
        depth
        * _bells(deformed[near], centers, width)
        * np.clip(2 * inward[near] @ directions.T, 0, 1)
    )
    more[near] = np.maximum(more[near], bells.max(-1))
    return more


def _bells(points, centers, width):
    squared = ((points[:, None] - centers[None]) ** 2).sum(-1)
    return np.exp(-0.5 * squared / np.square(width))
