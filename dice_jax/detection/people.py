"""The people in a photo: every face, every hand, and which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from dice_jax.detection import assignment, face_mesh, faces, hands
from dice_jax.detection.results import DetectedFace, DetectedHand, DetectedPerson
from dice_jax.detection.squares import Pyramid

_BOTH = 4  # faces, the largest ones, whose second hand is searched


def find_people(
    photo: UInt8[np.ndarray, "H W 3"],
    previous: Sequence[DetectedPerson] = (),
    both_hands: bool = False,
) -> list[DetectedPerson]:
    """Detects faces and hands and assigns them to people.

    Args:
        photo: RGB; may be turned in any direction.
        previous: people of the photo before, in a sequence. Their landmarks are followed; the
            detectors search only for a face that was lost, and for hands near faces that have none.
            People who come into view later are found by a call without `previous`.
        both_hands: whether every face is believed to have two hands in the photo. A second one is
            searched longer, less evidence is enough, and two hands of one side are a right and a
            left one.

    Returns:
        People with a face, the largest face first; then hands that belong to no face.
    """
    pyramid = Pyramid(photo)
    found = _follow(pyramid, previous, both_hands) if previous else None
    if found is None:
        found_faces = faces.find_all(pyramid)
        found = found_faces, hands.find_all(pyramid, found_faces)
    people = assignment.people(*found, both_hands)
    if not both_hands:
        return people
    found_faces, found_hands = found
    for person in people[: min(_BOTH, len(found_faces))]:
        if person.face is not None and len(person.hands) < 2:
            found_hands = hands.doubtful_near_face(pyramid, person.face, found_hands)
    return assignment.people(found_faces, found_hands, both_hands)


def _follow(
    photo: Pyramid, previous: Sequence[DetectedPerson], doubtful: bool
) -> tuple[list[DetectedFace], list[DetectedHand]] | None:
    """The faces and hands of the photo before in this one; None if a face or all hands are lost."""
    if not all(person.is_finite for person in previous):
        return None
    found_faces = []
    for person in previous:
        if person.face is not None:
            square = face_mesh.square_around(person.face.points[:, :2])
            looks = (
                face_mesh.find(photo, square, replicate=replicate) for replicate in (True, False)
            )
            face = next((face for face in looks if face.score > faces.SURE), None)
            if face is None:
                return None
            found_faces.append(face)
    before = [hand for person in previous for hand in person.hands]
    followed = [hands.follow(photo, hand, doubtful) for hand in before]
    found_hands = hands.without_duplicates([hand for hand in followed if hand is not None])
    if not found_faces and len(found_hands) < len(before):
        return None
    for face in found_faces:
        if len(found_hands) < len(before) or not hands.has_hand(face, found_hands):
            found_hands = hands.first_look(photo, face, found_hands)
    return found_faces, found_hands
