"""Which hand belongs to which face."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dice_jax.detection import face_mesh
from dice_jax.detection.results import DetectedFace, DetectedHand, DetectedPerson

_FACE_LENGTH = 0.19  # meters, the longer side of the face mesh of an adult
# The hand's scale relative to the face's: a hand nearer to the camera is larger.
_MIN_SCALE, _MAX_SCALE = 0.7, 3.2
_REACH = 0.85  # meters from the middle of the face to the middle of the hand, in the photo's plane


def people(
    faces: Sequence[DetectedFace], hands: Sequence[DetectedHand], both: bool = False
) -> list[DetectedPerson]:
    """Gives each face at most one right and one left hand.

    A hand belongs to the nearest face of a plausible size. Where a face would get two hands of one
    side, the surer one stays; the other goes to the next face, or to nobody.

    Args:
        faces: in the order of the result.
        hands: without duplicates.
        both: a face with one hand also gets a second one of the same side that would belong to
            nobody: the one of the two whose side is less sure is taken for the other hand.

    Returns:
        A person for each face, then one for each hand that belongs to no face.
    """
    options = []
    for j, hand in enumerate(hands):
        costs = [_cost(face, hand) for face in faces]
        options += [(cost, i, j) for i, cost in enumerate(costs) if cost is not None]
    owner: dict[int, int] = {}
    taken: set[tuple[int, bool]] = set()
    for _, i, j in sorted(options, key=lambda option: option[0] - 0.5 * hands[option[2]].score):
        side = (i, hands[j].right > 0.5)
        if j not in owner and side not in taken:
            owner[j] = i
            taken.add(side)
    sided = dict(enumerate(hands))
    if both:
        for _, i, j in sorted(options):
            first = [k for k, face in owner.items() if face == i]
            if j not in owner and len(first) == 1:
                owner[j] = i
                doubtful = min(j, first[0], key=lambda k: abs(hands[k].right - 0.5))
                other = 0.0 if hands[doubtful].right > 0.5 else 1.0
                sided[doubtful] = dataclasses.replace(hands[doubtful], right=other)
    persons = []
    for i, face in enumerate(faces):
        mine = [hand for j, hand in sided.items() if owner.get(j) == i]
        persons.append(DetectedPerson(face, tuple(sorted(mine, key=lambda hand: -hand.score))))
    alone = [hand for j, hand in enumerate(hands) if j not in owner]
    alone = [hand for hand in alone if not any(_is_part_of(face, hand) for face in faces)]
    alone = sorted(alone, key=lambda hand: -hand.score)
    return persons + [DetectedPerson(None, (hand,)) for hand in alone]


def pixels_per_meter(hand: DetectedHand) -> float:
    """The scale of a hand in the photo, from its metric points."""
    spread = lambda points: float(np.sqrt(((points - points.mean(0)) ** 2).sum()))
    return spread(hand.points[:, :2]) / max(spread(hand.world[:, :2]), 1e-6)


def _is_part_of(face: DetectedFace, hand: DetectedHand) -> bool:
    """Whether the hand is a part of the face, such as an ear: inside of it, and small."""
    size = face_mesh.size(face)
    gap = np.linalg.norm(hand.points[:, :2].mean(0) - face.points[:, :2].mean(0))
    return bool(gap < size and pixels_per_meter(hand) < _MIN_SCALE * size / _FACE_LENGTH)


def _cost(face: DetectedFace, hand: DetectedHand) -> float | None:
    """How far the hand is from being this person's; None if it cannot be."""
    face_scale = face_mesh.size(face) / _FACE_LENGTH
    ratio = pixels_per_meter(hand) / face_scale
    gap = np.linalg.norm(hand.points[:, :2].mean(0) - face.points[:, :2].mean(0)) / face_scale
    if not _MIN_SCALE < ratio < _MAX_SCALE or gap > _REACH:
        return None
    return float(gap / _REACH + 0.5 * abs(np.log(ratio)))
