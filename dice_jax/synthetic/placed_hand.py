"""A hand that has found its place at or near a head, its mirror image, and an absent hand."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.constants import NUM_HAND_KEYPOINTS, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.structs import HandParams
from dice_jax.synthetic.sample import Person

SIDE = np.array([-1.0, 1.0, 1.0])  # mirrors a point about the middle plane of the head
_NOWHERE = np.array([0.0, -50.0, 0.0])  # meters; below everything that a camera sees


@dataclasses.dataclass(frozen=True)
class PlacedHand:
    """One hand with its arm, in the head's own axes (see `Scene`), meters.

    Attributes:
        gesture: name of the gesture; "" for a hand that is absent.
        person: whose hand it is.
        params: of the right hand; for a left hand, those of its mirror image.
        vertices, keypoints: of the posed hand.
        elbow, shoulder: of its arm.
        contact: hand vertices that touch the skin.
        head_contact: head vertices that touch the hand.
        deformations: of the skin under this hand, to be subtracted from the head's vertices.
    """

    gesture: str
    person: Person
    params: HandParams
    vertices: Float[np.ndarray, "778 3"]
    keypoints: Float[np.ndarray, "21 3"]
    elbow: Float[np.ndarray, "3"]
    shoulder: Float[np.ndarray, "3"]
    contact: Bool[np.ndarray, "778"]
    head_contact: Bool[np.ndarray, "5023"]
    deformations: Float[np.ndarray, "5023 3"]

    @property
    def is_there(self) -> bool:
        return bool(self.gesture)


def absent_hand(person: Person) -> PlacedHand:
    """No hand: its vertices coincide far away, where nothing is drawn."""
    zeros = lambda size: jnp.zeros(size, jnp.float32)
    return PlacedHand(
        gesture="",
        person=person,
        params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
        vertices=np.tile(_NOWHERE, (NUM_HAND_VERTICES, 1)),
        keypoints=np.tile(_NOWHERE, (NUM_HAND_KEYPOINTS, 1)),
        elbow=_NOWHERE,
        shoulder=_NOWHERE,
        contact=np.zeros(NUM_HAND_VERTICES, bool),
        head_contact=np.zeros(NUM_HEAD_VERTICES, bool),
        deformations=np.zeros((NUM_HEAD_VERTICES, 3)),
    )


def mirrored_hand(hand: PlacedHand, mirror: Int[np.ndarray, "5023"]) -> PlacedHand:
    """The left hand at a head whose mirror image the right hand was placed at.

    Args:
        hand: the right hand.
        mirror: the mirrored vertex of each head vertex.
    """
    return dataclasses.replace(
        hand,
        vertices=hand.vertices * SIDE,
        keypoints=hand.keypoints * SIDE,
        elbow=hand.elbow * SIDE,
        shoulder=hand.shoulder * SIDE,
        head_contact=hand.head_contact[mirror],
        deformations=hand.deformations[mirror] * SIDE,
    )


def collide(
    first: Float[np.ndarray, "778 3"], second: Float[np.ndarray, "778 3"], clearance: float = 0.006
) -> bool:
    """Whether two hands are closer than `clearance`, meters, or their boxes are inside each other.

    Vertices are 5 mm apart, so hands that cross each other have vertices that are close.
    """
    low, high = first.min(0) - clearance, first.max(0) + clearance
    near = second[((second >= low) & (second <= high)).all(-1)]
    if not len(near):
        return False
    return bool(np.linalg.norm(first[:, None] - near[None], axis=-1).min() < clearance)
