"""Which part of a hand touches which part of the face: "index fingertip on left cheek"."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int
from scipy.spatial import KDTree

from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.rig import HAND_JOINTS
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.person import Hand, Head, Person

_BONES = {"1": "finger base", "2": "finger middle", "3": "fingertip"}
_FAR = 0.03  # meters; a hand vertex farther from the head touches none of its regions
_ELSEWHERE = "another part of the head"


@dataclasses.dataclass(frozen=True)
class RegionContact:
    """One part of a hand on one part of the head.

    Attributes:
        hand: "right" or "left".
        hand_region: such as "index fingertip", "palm" or "back of the hand".
        head_region: such as "left cheek"; left and right are those of the person.
        probability: the highest contact probability of a hand vertex there.
        vertices: number of hand vertices that probably touch.
    """

    hand: str
    hand_region: str
    head_region: str
    probability: float
    vertices: int

    def __str__(self) -> str:
        """In words: "right index fingertip on left cheek"."""
        return f"{self.hand} {self.hand_region} on {self.head_region}"


def region_contacts(
    person: Person, hand_model: BodyModel, head_model: BodyModel, threshold: float = 0.5
) -> list[RegionContact]:
    """The contacts of a person by region, the surest first.

    Args:
        person: of `reconstruct`.
        hand_model, head_model: of the person's meshes.
        threshold: contact probability from which a vertex counts as touching.

    Returns:
        One entry for each pair of a region of a hand and a region of the head; a hand vertex
        belongs to the region of the nearest vertex of the deformed head. Empty where nothing
        touches, or where the person has no head.
    """
    if person.head is None:
        return []
    contacts = [
        contact
        for hand in person.hands
        for contact in _of_hand(hand, person.head, hand_model, head_model, threshold)
    ]
    return sorted(contacts, key=lambda contact: -contact.probability)


def _of_hand(
    hand: Hand, head: Head, hand_model: BodyModel, head_model: BodyModel, threshold: float
) -> list[RegionContact]:
    probabilities = np.nan_to_num(np.asarray(hand.contact_probs))
    touching = np.flatnonzero(probabilities > threshold)
    if not len(touching):
        return []
    head_names, head_ids = head_regions(head_model)
    hand_names, hand_ids = hand_regions(hand_model)
    surface = KDTree(np.asarray(head.deformed_vertices))
    distance, nearest = surface.query(np.asarray(hand.vertices)[touching])
    near = distance < _FAR
    touching, nearest = touching[near], np.asarray(nearest)[near]
    pairs = np.stack([hand_ids[touching], head_ids[nearest]], axis=1)
    return [
        RegionContact(
            hand.side,
            hand_names[pair[0]],
            head_names[pair[1]],
            float(probabilities[touching[(pairs == pair).all(axis=1)]].max()),
            int((pairs == pair).all(axis=1).sum()),
        )
        for pair in np.unique(pairs, axis=0)
    ]


def head_regions(model: BodyModel) -> tuple[list[str], Int[np.ndarray, "V"]]:
    """Names of the head's regions, and the region of each vertex; the smallest where they overlap.

    A model without regions, such as a converted FLAME, has "another part of the head" alone.
    """
    names = [_in_words(name) for name in model.region_names]
    ids = np.full(len(model.v_template), len(names))
    masks = np.asarray(model.regions).reshape(len(names), len(ids))
    for region in np.argsort(-masks.sum(axis=1), kind="stable"):
        ids[masks[region]] = region
    return [*names, _ELSEWHERE], ids


def _in_words(name: str) -> str:
    """ "cheek_left" is the left cheek."""
    part, _, side = name.partition("_")
    return f"{side} {part}" if side in ("left", "right") else name.replace("_", " ")


def hand_regions(model: BodyModel) -> tuple[list[str], Int[np.ndarray, "V"]]:
    """Names of the hand's regions, and the region of each vertex.

    The bone that moves a vertex most gives the part of a finger; what follows the wrist is palm or
    back, by the direction of its normal. The palm of the template looks down.
    """
    bones = np.argmax(np.asarray(model.lbs_weights), axis=1)
    names = [f"{joint[:-1]} {_BONES[joint[-1]]}" for joint in HAND_JOINTS[1:]]
    names = [name.replace("thumb finger", "thumb ").replace("  ", " ") for name in names]
    palm, back = len(names), len(names) + 1
    downwards = np.asarray(vertex_normals(model.v_template, model.faces))[:, 1] < 0
    ids = np.where(bones > 0, bones - 1, np.where(downwards, palm, back))
    return [*names, "palm", "back of the hand"], ids
