"""The person whom a user points at with a rectangle, also where the detectors miss the face."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.detection import assignment, face_mesh, framing, hands
from dice_jax.detection.people import find_people
from dice_jax.detection.results import DetectedFace, DetectedPerson
from dice_jax.detection.squares import Pyramid, Square

_MARGIN = 0.25  # of the part that is searched by itself, in sides of the rectangle
# Squares in which the landmarks of a missed face are searched: side in longer sides of the
# rectangle, which may hold a face alone or a person with hands; turn in radians.
_LOOKS = tuple((side, turn) for side in (1.4, 1.0, 0.7) for turn in (0.0, 0.6, -0.6))
_MIN_FACE = 0.2  # score; below the detectors' 0.5, because the user says that there is one


def find_in_box(
    photo: UInt8[np.ndarray, "H W 3"],
    box: Float[np.ndarray, "4"],
    previous: Sequence[DetectedPerson] = (),
    both_hands: bool = False,
) -> DetectedPerson | None:
    """The person in a rectangle of a photo.

    Who is found in the whole photo is taken; else the rectangle is searched by itself, enlarged;
    else the landmark network looks at it without a detector.

    Args:
        photo: RGB; may be turned in any direction.
        box: left, top, right, bottom, pixels of the photo.
        previous, both_hands: of `find_people`.

    Returns:
        The one whose middle lies in the rectangle; of several, the one that fills it best. None if
        there is neither a face nor a hand.
    """
    found = _fills_best(find_people(photo, previous, both_hands), box)
    if found is not None and found.face is not None:
        return found
    part, corner = _around(photo, box)
    inside = [_moved(one, corner) for one in find_people(part, both_hands=both_hands)]
    closer = _fills_best(inside, box)
    if closer is not None and closer.face is not None:
        return closer
    face = _missed_face(photo, box)
    if face is not None:
        pyramid = Pyramid(photo)
        return assignment.people([face], hands.find_all(pyramid, [face]), both_hands)[0]
    return found or closer


def _fills_best(people: Sequence[DetectedPerson], box) -> DetectedPerson | None:
    inside = [person for person in people if _holds(box, _middle(person))]
    return max(inside, key=lambda person: _overlap(person, box), default=None)


def _middle(person: DetectedPerson) -> Float[np.ndarray, "2"]:
    points = person.hands[0].points if person.face is None else person.face.points
    return points[:, :2].mean(0)


def _holds(box, point) -> bool:
    return bool((point >= box[:2]).all() and (point <= box[2:]).all())


def _overlap(person: DetectedPerson, box) -> float:
    """The intersection over union with the head alone or with everything, the larger one."""
    hand_boxes = [framing.hand_box(hand) for hand in person.hands]
    boxes = hand_boxes if person.face is None else [framing.head_box(person.face), *hand_boxes]
    everything = np.concatenate(
        [np.min([b[:2] for b in boxes], axis=0), np.max([b[2:] for b in boxes], axis=0)]
    )
    return max(_intersection_over_union(each, box) for each in (boxes[0], everything))


def _intersection_over_union(a, b) -> float:
    area = lambda low, high: float(np.prod(np.maximum(high - low, 0.0)))
    common = area(np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:]))
    return common / max(area(a[:2], a[2:]) + area(b[:2], b[2:]) - common, 1e-6)


def _around(photo, box) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "2"]]:
    """The part of the photo around the rectangle, and its left upper corner."""
    margin = _MARGIN * (box[2:] - box[:2])
    size = np.array(photo.shape[1::-1])
    low = np.clip(np.floor(box[:2] - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil(box[2:] + margin), low + 1, size).astype(int)
    return np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]]), low.astype(float)


def _moved(person: DetectedPerson, offset) -> DetectedPerson:
    move = lambda part: dataclasses.replace(part, points=part.points + [*offset, 0.0])
    face = None if person.face is None else move(person.face)
    return DetectedPerson(face, tuple(map(move, person.hands)))


def _missed_face(photo, box) -> DetectedFace | None:
    """The surest face that the landmark network sees in the rectangle."""
    pyramid, center = Pyramid(photo), (box[:2] + box[2:]) / 2
    longer = float((box[2:] - box[:2]).max())
    looks = [face_mesh.find(pyramid, Square(center, side * longer, turn)) for side, turn in _LOOKS]
    inside = [face for face in looks if _holds(box, face.points[:, :2].mean(0))]
    best = max(inside, key=lambda face: face.score, default=None)
    return best if best is not None and best.score > _MIN_FACE else None
