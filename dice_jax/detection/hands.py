"""Every hand of a photo; near a face with more effort, because there a palm is often hidden.

A candidate is a square that may hold a hand. The hand network looks at it, then at the square
around the points that it predicted. `hand_evidence` says how sure the result is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dice_jax.detection import face_mesh, hand_evidence, hand_landmarks, single_shot
from dice_jax.detection.results import DetectedFace, DetectedHand
from dice_jax.detection.squares import Pyramid, Square, around_photo

MIN_SCORE = 0.5
_SURE_ENOUGH = 0.8  # score above which the search near a face stops
_MIN_PALM = 0.3  # lower than MediaPipe's 0.5: the hand network decides
_MIN_PALM_ALONE = 0.15  # the same in a photo without a face, if no hand was found
# The same for the second hand of a face, where both are asked for, and how sure it must be.
_MIN_PALM_SECOND, _MIN_SECOND = 0.15, 0.1
_MIN_FIRST, _MIN_LATER = 0.02, 0.25  # presence below which a candidate is given up
_SAME_HAND = 0.25  # mean distance of points, in hand sizes
_MAX_PALMS, _MAX_DOUBTFUL = 8, 3  # candidates that are followed, and those that are verified

# Squares around a face: side in face sizes, turn relative to the face in degrees, mirrored.
_FIRST_LOOK = ((3.5, 0, False), (2.2, 180, False))
_SECOND_LOOK = (
    (2.2, 90, True),
    (2.2, -90, False),
    (3.5, 90, True),
    (3.5, 180, False),
    (5.5, 0, False),
    (5.5, 180, True),
)
# Squares that may hold a hand at the face: center in face sizes right of and below the face's
# center (as the photo shows it), and turn in degrees.
_BLIND_SIDE = 1.8
_BLIND = (
    (-0.8, 0.3, 20),
    (0.8, 0.3, -20),
    (-0.5, 0.6, 45),
    (0.5, 0.6, -45),
    (0.0, 0.8, 0),
    (0.0, 0.2, 60),
    (0.0, 0.2, -60),
    (-0.5, -0.4, 45),
    (0.5, -0.4, -45),
)


# A square, and the scores of the palm detector there.
_Candidate = tuple[Square, list[float]]


def find_all(photo: Pyramid, faces: Sequence[DetectedFace]) -> list[DetectedHand]:
    """The hands of a photo, the surest first.

    Args:
        photo: to look at.
        faces: the largest ones are searched for a hand with more effort.
    """
    whole = around_photo(photo.height, photo.width)
    looks = [whole, *(_near(face, *look) for face in faces[:4] for look in _FIRST_LOOK)]
    hands = _from_palms(photo, looks, [])
    if not faces and not hands:
        turned = [Square(whole.center, whole.side, turn, True) for turn in (0.0, np.pi / 2)]
        hands = _from_palms(photo, [whole, *turned, *_quarters(whole)], [], _MIN_PALM_ALONE)
    if not faces and not hands:
        side = min(photo.height, photo.width)
        filling = [Square(whole.center, side, np.radians(turn)) for turn in (0, 90, -90, 180)]
        hands = _from_candidates(photo, [(square, []) for square in filling], [])
    for face in faces[:2]:
        if not has_hand(face, hands):
            hands = near_face(photo, face, hands)
    return hands


def near_face(
    photo: Pyramid, face: DetectedFace, hands: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """The hands found before, and those found by a thorough search around a face."""
    found = _from_palms(photo, [_near(face, *look) for look in _SECOND_LOOK], hands)
    if has_hand(face, found):
        return found
    return _from_candidates(photo, _blind_squares(face), found)


def doubtful_near_face(
    photo: Pyramid, face: DetectedFace, hands: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """The hands found before, and every other one around a face that may be a hand.

    Where the user says that there is one more hand, less evidence is enough.
    """
    looks = [_near(face, *look) for look in _SECOND_LOOK]
    found = _from_palms(photo, looks, hands, _MIN_PALM_SECOND, _MIN_SECOND)
    return _from_candidates(photo, _blind_squares(face), found, _MIN_SECOND)


def _blind_squares(face: DetectedFace) -> list[_Candidate]:
    center, size, roll = _pose(face)
    axes = Square(center, 1.0, roll).axes()
    return [
        (Square(center + size * axes @ [x, y], _BLIND_SIDE * size, roll + np.radians(turn)), [])
        for x, y, turn in _BLIND
    ]


def first_look(
    photo: Pyramid, face: DetectedFace, hands: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """The hands found before, and those whose palms are seen around a face."""
    return _from_palms(photo, [_near(face, *look) for look in _FIRST_LOOK], hands)


def follow(photo: Pyramid, hand: DetectedHand, doubtful: bool = False) -> DetectedHand | None:
    """The hand in the next photo of a sequence; None if it is lost.

    Args:
        photo: the next one.
        hand: in the photo before.
        doubtful: whether as little evidence is enough as for `doubtful_near_face`.
    """
    candidate = _refine(photo, hand_landmarks.square_around(hand.points[:, :2]), passes=1)
    if candidate is None:
        return None
    verified = hand_evidence.verify(photo, [candidate])
    return verified if verified.score > (_MIN_SECOND if doubtful else MIN_SCORE) else None


def same(a: DetectedHand, b: DetectedHand) -> bool:
    """Whether two detections are the same hand.

    Their points are at the same places; or both fill the same place, but one of them is not sure:
    then it may have mistaken one finger for another.
    """
    if _gap(a, b) < _SAME_HAND:
        return True
    size = max(hand_landmarks.size(a), hand_landmarks.size(b))
    shift = np.linalg.norm(a.points[:, :2].mean(0) - b.points[:, :2].mean(0))
    return bool(min(a.score, b.score) < hand_evidence.SURE and shift < _SAME_HAND * size)


def _gap(a: DetectedHand, b: DetectedHand) -> float:
    """The mean distance of the points, in hand sizes."""
    size = max(hand_landmarks.size(a), hand_landmarks.size(b), 1e-6)
    return float(np.linalg.norm(a.points[:, :2] - b.points[:, :2], axis=-1).mean() / size)


def without_duplicates(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """The surest of each group of equal hands, the surest first."""
    kept: list[DetectedHand] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if not any(same(hand, other) for other in kept):
            kept.append(hand)
    return kept


def _from_palms(
    photo: Pyramid,
    looks: Sequence[Square],
    known: Sequence[DetectedHand],
    min_palm: float = _MIN_PALM,
    min_score: float = MIN_SCORE,
) -> list[DetectedHand]:
    """Searches palms in the squares `looks` and the hands around them."""
    palms = [palm for look in looks for palm in single_shot.palms(photo, look, min_palm)]
    candidates: list[_Candidate] = []
    for palm in sorted(palms, key=lambda palm: -palm.score):
        square = hand_landmarks.square_around_palm(palm)
        if not any(_alike(square, other) for other, _ in candidates):
            candidates.append((square, [palm.score]))
    return _from_candidates(photo, candidates[:_MAX_PALMS], known, min_score)


def _from_candidates(
    photo: Pyramid,
    candidates: Sequence[_Candidate],
    known: Sequence[DetectedHand],
    min_score: float = MIN_SCORE,
) -> list[DetectedHand]:
    """Follows the candidates and verifies the surest of them."""
    refined = [
        (hand, palm_scores)
        for square, palm_scores in candidates
        if not _shown(square, known) and (hand := _refine(photo, square)) is not None
    ]
    refined = [pair for pair in refined if not any(same(pair[0], hand) for hand in known)]
    groups: list[tuple[list[DetectedHand], list[float]]] = []
    count = 0
    for hand, palm_scores in sorted(refined, key=lambda pair: -pair[0].score):
        group = next((group for group in groups if same(hand, group[0][0])), None)
        if group is not None and any(_gap(hand, other) < _SAME_HAND for other in group[0]):
            continue
        if count == _MAX_DOUBTFUL:
            break
        count += 1
        if group is None:
            groups.append(([hand], palm_scores))
        else:
            group[0].append(hand)
    verified = [hand_evidence.verify(photo, *group) for group in groups]
    return without_duplicates([*known, *(hand for hand in verified if hand.score > min_score)])


def _refine(photo: Pyramid, square: Square, passes: int = 3) -> DetectedHand | None:
    """The hand in a square; None if the network doubts that there is one."""
    hand = hand_landmarks.find(photo, square)
    for number in range(1, passes):
        if hand.score < (_MIN_FIRST if number == 1 else _MIN_LATER):
            return None
        square = hand_landmarks.square_around(hand.points[:, :2])
        hand = hand_landmarks.find(photo, square)
    return hand if hand.score > _MIN_LATER else None


def has_hand(face: DetectedFace, hands: Sequence[DetectedHand]) -> bool:
    """Whether a sure hand is near the face."""
    center, size, _ = _pose(face)
    sure = [hand for hand in hands if hand.score > _SURE_ENOUGH]
    gaps = [np.linalg.norm(hand.points[:, :2] - center, axis=-1).min() for hand in sure]
    return any(gap < 1.5 * size for gap in gaps)


def _shown(square: Square, known: Sequence[DetectedHand]) -> bool:
    """Whether the square is about the one around a hand found before."""
    return any(_alike(square, hand_landmarks.square_around(hand.points[:, :2])) for hand in known)


def _alike(a: Square, b: Square) -> bool:
    """Whether two squares hold the same hand in the same direction."""
    near = np.linalg.norm(a.center - b.center) < 0.2 * b.side
    return bool(near and np.cos(a.angle - b.angle) > 0.87 and 0.7 < a.side / b.side < 1.4)


def _near(face: DetectedFace, zoom: float, turn: float, mirrored: bool) -> Square:
    center, size, roll = _pose(face)
    return Square(center, zoom * size, roll + np.radians(turn), mirrored)


def _pose(face: DetectedFace) -> tuple[Float[np.ndarray, "2"], float, float]:
    """Center and size in pixels, and roll in radians."""
    return face.points[:, :2].mean(0), face_mesh.size(face), face_mesh.roll(face)


def _quarters(whole: Square) -> list[Square]:
    """The four overlapping quarters of a square, of 60 % of its side."""
    offset = 0.2 * whole.side
    return [
        Square(whole.center + offset * np.array([x, y]), 0.6 * whole.side)
        for y in (-1, 1)
        for x in (-1, 1)
    ]
