"""Skin deformation under a hand.

The hand is moved to a depth that the tissue permits, then the skin is pushed out of the hand. Each
skin vertex may move along its own smoothed inward normal. The vertices that the hand presses move
as far as they must; all others follow in equilibrium, see `skin_response`. The remaining overlap is
measured on the full meshes and presses further, until there is none to speak of.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.synthetic.contact_problem import HeadSkin
from dice_jax.synthetic.penetration import measure_penetration, outward_normals, surface_points
from dice_jax.synthetic.skin_response import SkinPatch

CONTACT_DISTANCE = 0.003  # meters between a vertex and the other surface
TOLERANCE = 0.0005  # meters by which hand and skin may still overlap in the end

_ROUNDS = 10
_PLACEMENT_ROUNDS = 4
_SLACK = 0.00025  # meters of overlap that need no further round
_NORMAL_RADIUS = 0.015  # meters over which inward normals are smoothed
_SKIN_RANGE = 0.03  # meters from the hand within which skin moves
_PATCH_MARGIN = 0.025  # meters around the pressed skin that answer
_MAX_DISPLACEMENT = 0.025  # meters


@dataclasses.dataclass(frozen=True)
class SkinContact:
    """The deformed skin and the contact labels.

    Attributes:
        deformations: meters, to be subtracted from the head's vertices.
        hand_contact: hand vertices within CONTACT_DISTANCE of the skin.
        head_contact: head vertices within CONTACT_DISTANCE of the hand.
        overlap: largest remaining penetration depth, meters.
    """

    deformations: Float[np.ndarray, "5023 3"]
    hand_contact: Bool[np.ndarray, "778"]
    head_contact: Bool[np.ndarray, "5023"]
    overlap: float


def shift_to_depth(
    hand_vertices: Float[np.ndarray, "778 3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    indentation: float,
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
) -> Float[np.ndarray, "3"] | None:
    """The translation that brings a hand to a given depth below the undeformed skin.

    No point goes deeper than the tissue permits, see `HeadSkin.max_indentation`.

    Args:
        hand_vertices: meters.
        head_vertices: undeformed, meters.
        indentation: depth of the deepest point, meters.
        hand: the hand model.
        head: the head model.
        skin: of `contact_problem.head_skin`.

    Returns:
        Translation, meters; None if a short translation is not enough.
    """
    shift = np.zeros(3)
    points = surface_points(hand_vertices, hand)
    normals = outward_normals(head_vertices, head)
    for _ in range(_PLACEMENT_ROUNDS):
        found = measure_penetration(points + shift, head_vertices, head, skin.touchable)
        tissue_limit = (skin.max_indentation[found.faces] * found.barycentrics).sum(-1)
        excess = found.depth - np.minimum(tissue_limit, indentation)
        # The point with the largest excess determines how far the hand moves, out or in.
        largest = excess[int(np.argmax(excess))]
        if not np.isfinite(largest):
            return None
        if abs(largest) < 0.0002:
            break
        deep = np.flatnonzero(excess > min(0.5 * largest, largest - 0.001))
        outward = (normals[found.faces[deep]] * found.barycentrics[deep, :, None]).sum((0, 1))
        shift += largest * outward / max(np.linalg.norm(outward), 1e-9)
    return shift if np.linalg.norm(shift) < 0.012 else None


def deform_skin(
    hand_vertices: Float[np.ndarray, "778 3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
) -> SkinContact:
    """Pushes the skin out of the hand and labels the contacts.

    Args:
        hand_vertices: meters, already moved by `shift_to_depth`.
        head_vertices: undeformed, meters.
        hand: the hand model.
        head: the head model.
        skin: of `contact_problem.head_skin`.
    """
    head_vertices = np.asarray(head_vertices, np.float64)
    inward, near = _inward_directions(hand_vertices, head_vertices, head, skin)
    points = surface_points(hand_vertices, hand)
    whole_hand = np.ones(len(hand_vertices), bool)
    patch, distance, needed = None, np.zeros(len(head_vertices)), np.zeros(len(head_vertices))
    for round_index in range(_ROUNDS + 1):
        deformed = head_vertices + distance[:, None] * inward
        from_hand = measure_penetration(points, deformed, head, skin.touchable)
        from_head = measure_penetration(deformed[near], hand_vertices, hand, whole_hand)
        overlap = max(
            from_hand.depth.max(initial=-np.inf), from_head.depth.max(initial=-np.inf), 0.0
        )
        if overlap < _SLACK or round_index == _ROUNDS:
            break
        more = _missing(from_hand, from_head, near, len(head_vertices))
        needed = np.where(more > 0, np.maximum(needed, distance) + more, needed)
        if patch is None:
            patch = _patch(head_vertices, needed, near, head, skin)
        pressed = needed[patch.ids] > 0
        distance[patch.ids] = patch.response(pressed, needed[patch.ids])
    count = len(hand_vertices)
    head_contact = np.zeros(len(head_vertices), bool)
    head_contact[near] = from_head.depth > -CONTACT_DISTANCE
    return SkinContact(
        deformations=-distance[:, None] * inward,
        hand_contact=from_hand.depth[:count] > -CONTACT_DISTANCE,
        head_contact=head_contact,
        overlap=float(overlap),
    )


def is_plausible(contact: SkinContact, skin: HeadSkin) -> bool:
    """Whether hand and skin touch and hardly overlap, and no skin moves farther than tissue can."""
    depth = np.linalg.norm(contact.deformations, axis=-1)
    within = (depth <= 1.25 * skin.max_indentation + 0.002).all()
    within &= depth.max() < _MAX_DISPLACEMENT
    touches = contact.hand_contact.sum() >= 3 and contact.head_contact.any()
    return bool(contact.overlap < 0.9 * TOLERANCE and within and touches)


def _inward_directions(hand_vertices, head_vertices, head, skin):
    """The direction in which each vertex moves, and the ids of the skin near the hand."""
    normals = outward_normals(head_vertices, head)
    distance = KDTree(hand_vertices).query(head_vertices, distance_upper_bound=_SKIN_RANGE)[0]
    near = np.flatnonzero(skin.touchable & np.isfinite(distance))
    smooth = normals.copy()
    if len(near):
        weights = _gaussians(head_vertices[near], head_vertices[near], _NORMAL_RADIUS)
        weights *= np.clip(normals[near] @ normals[near].T, 0, 1) * skin.areas[near]
        smooth[near] = weights @ normals[near]
        smooth[near] /= np.linalg.norm(smooth[near], axis=-1, keepdims=True)
    return -smooth, near


def _patch(head_vertices, needed, near, head, skin):
    """The skin around the pressed vertices."""
    pressed = head_vertices[needed > 0]
    reach = KDTree(pressed).query(head_vertices, distance_upper_bound=_PATCH_MARGIN)[0]
    chosen = skin.touchable & np.isfinite(reach)
    chosen[near] |= needed[near] > 0
    softness = 1 - np.asarray(head.stiffness, np.float64)
    return SkinPatch(
        head_vertices, np.asarray(head.faces), np.flatnonzero(chosen), skin.areas, softness
    )


def _missing(from_hand, from_head, near, count):
    """How much farther each vertex must move inward so that the overlap that was found vanishes."""
    distance = np.zeros(count)
    inside = np.flatnonzero(from_hand.depth > _SLACK / 2)
    faces, weights = from_hand.faces[inside], from_hand.barycentrics[inside]
    depth = from_hand.depth[inside] + _SLACK / 4
    # The vertices of a penetrated triangle move by the least distance that clears the point,
    # however large the triangle is.
    least = depth[:, None] * weights / (weights**2).sum(-1, keepdims=True)
    np.maximum.at(distance, faces, least)
    # A skin vertex inside the hand moves out along its own direction, which takes longer than the
    # shortest way.
    stuck = from_head.depth > _SLACK / 2
    np.maximum.at(distance, near[stuck], 1.3 * from_head.depth[stuck])
    return distance


def _gaussians(points, centers, width):
    squared = ((points[:, None] - centers[None]) ** 2).sum(-1)
    return np.exp(-0.5 * squared / np.square(width))
