"""Every hand of a photo; near a face with more effort, because there a palm is often hidden.

A candidate is a square that may hold a hand. The hand network looks at it, then at the square
around the points that it predicted. A hand is sure if it looks like a hand in several squares, or
if the palm detector sees it too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dice_jax.detection import face_mesh, hand_landmarks, single_shot
from dice_jax.detection.results import DetectedFace, DetectedHand
from dice_jax.detection.squares import Pyramid, Square, around_photo

MIN_SCORE = 0.5
_SURE = 0.98  # mean presence from several squares above which no more evidence is needed
_SURE_ENOUGH = 0.8  # score above which the search near a face stops
_MAX_SPREAD = 0.04  # of the points that those squares give, in hand sizes
_MIN_PALM = 0.3  # lower than MediaPipe's 0.5: the hand network decides
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
# Other views of a hand: mirrored, turn in radians, zoom.
_VIEWS = ((False, 0.35, 1.0), (False, -0.35, 1.0), (True, 0.0, 1.2), (False, 0.0, 0.85))
# Squares in which the palm detector should see a doubtful hand: side in sides of the hand's square,
# turn in radians, mirrored.
_PALM_VIEWS = ((1.5, 0.0, False), (2.5, np.pi, True), (4.0, np.pi / 2, False))


def find_all(photo: Pyramid, faces: Sequence[DetectedFace]) -> list[DetectedHand]:
    """The hands of a photo, the surest first.

    Args:
        photo: to look at.
        faces: the largest ones are searched for a hand with more effort.
    """
    whole = around_photo(photo.height, photo.width)
    looks = [whole, *(_near(face, *look) for face in faces[:4] for look in _FIRST_LOOK)]
    hands = _from_palms(photo, looks, [])
    if not faces:
        turned = [Square(whole.center, whole.side, np.pi / 2, True)]
        hands = _from_palms(photo, [*turned, *_quarters(whole)], hands)
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
    center, size, roll = _pose(face)
    axes = Square(center, 1.0, roll).axes()
    squares = [
        Square(center + size * axes @ [x, y], _BLIND_SIDE * size, roll + np.radians(turn))
        for x, y, turn in _BLIND
    ]
    return _from_squares(photo, squares, found)


def first_look(
    photo: Pyramid, face: DetectedFace, hands: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """The hands found before, and those whose palms are seen around a face."""
    return _from_palms(photo, [_near(face, *look) for look in _FIRST_LOOK], hands)


def follow(photo: Pyramid, hand: DetectedHand) -> DetectedHand | None:
    """The hand in the next photo of a sequence; None if it is lost."""
    candidate = _refine(photo, hand_landmarks.square_around(hand.points[:, :2]), passes=1)
    if candidate is None:
        return None
    verified = _verified(photo, candidate)
    return verified if verified.score > MIN_SCORE else None


def same(a: DetectedHand, b: DetectedHand) -> bool:
    """Whether two detections are the same hand.

    Their points are at the same places; or both fill the same place, but one of them is not sure:
    then it may have mistaken one finger for another.
    """
    size = max(hand_landmarks.size(a), hand_landmarks.size(b))
    offsets = a.points[:, :2] - b.points[:, :2]
    gap = np.linalg.norm(offsets, axis=-1).mean()
    if min(a.score, b.score) < _SURE:
        gap = min(gap, np.linalg.norm(offsets.mean(0)))
    return bool(gap < _SAME_HAND * size)


def without_duplicates(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """The surest of each group of equal hands, the surest first."""
    kept: list[DetectedHand] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if not any(same(hand, other) for other in kept):
            kept.append(hand)
    return kept


def _from_palms(
    photo: Pyramid, looks: Sequence[Square], known: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """Searches palms in the squares `looks` and the hands around them."""
    palms = [palm for look in looks for palm in single_shot.palms(photo, look, _MIN_PALM)]
    palms = single_shot.without_duplicates(palms)[:_MAX_PALMS]
    return _from_squares(photo, [hand_landmarks.square_around_palm(palm) for palm in palms], known)


def _from_squares(
    photo: Pyramid, squares: Sequence[Square], known: Sequence[DetectedHand]
) -> list[DetectedHand]:
    """Follows the candidates and verifies the surest of them."""
    candidates = [_refine(photo, square) for square in squares if not _shown(square, known)]
    candidates = without_duplicates([hand for hand in candidates if hand is not None])
    new = [hand for hand in candidates if not any(same(hand, other) for other in known)]
    verified = [_verified(photo, hand) for hand in new[:_MAX_DOUBTFUL]]
    return without_duplicates([*known, *(hand for hand in verified if hand.score > MIN_SCORE)])


def _refine(photo: Pyramid, square: Square, passes: int = 3) -> DetectedHand | None:
    """The hand in a square; None if the network doubts that there is one."""
    hand = hand_landmarks.find(photo, square)
    for number in range(1, passes):
        if hand.score < (_MIN_FIRST if number == 1 else _MIN_LATER):
            return None
        square = hand_landmarks.square_around(hand.points[:, :2])
        hand = hand_landmarks.find(photo, square)
    return hand if hand.score > _MIN_LATER else None


def _verified(photo: Pyramid, hand: DetectedHand) -> DetectedHand:
    """The mean of the hand seen from several squares; `score` says how sure all of them are."""
    square = hand_landmarks.square_around(hand.points[:, :2])
    mirrored = dataclasses.replace(square, mirrored=True)
    views = [hand, hand_landmarks.find(photo, mirrored)]
    if _mean_presence(views) > _SURE and _spread(views) < _MAX_SPREAD:
        return _mean(views, _mean_presence(views))
    for is_mirrored, turn, zoom in _VIEWS:
        other = Square(square.center, zoom * square.side, square.angle + turn, is_mirrored)
        views.append(hand_landmarks.find(photo, other))
    palm = np.mean([_palm_score(photo, square, *view) for view in _PALM_VIEWS])
    presence = np.clip(_mean_presence(views), 1e-3, 1 - 1e-3)
    # The weights separate hands from ears, noses and folds of clothes on 85 photos.
    evidence = np.log(presence / (1 - presence)) + 4 * (palm - 0.5)
    evidence -= 30 * (_spread(views) - 0.03) + 0.6
    return _mean(views, float(1 / (1 + np.exp(-evidence))))


def _palm_score(photo: Pyramid, hand: Square, zoom: float, turn: float, mirrored: bool) -> float:
    """How sure the palm detector is that the square `hand` holds a hand; 0 if it sees none."""
    look = Square(hand.center, zoom * hand.side, hand.angle + turn, mirrored)
    scores = [0.0]
    for palm in single_shot.palms(photo, look, 0.05):
        seen = hand_landmarks.square_around_palm(palm)
        gap = np.linalg.norm(seen.center - hand.center)
        if gap < 0.35 * hand.side and 0.5 < seen.side / hand.side < 2.0:
            scores.append(palm.score)
    return max(scores)


def _mean_presence(views: Sequence[DetectedHand]) -> float:
    """The geometric mean of the scores."""
    return float(np.exp(np.mean([np.log(view.score + 1e-4) for view in views])))


def _spread(views: Sequence[DetectedHand]) -> float:
    """The mean distance of the views' points from their mean, in hand sizes."""
    points = np.stack([view.points[:, :2] for view in views])
    distance = np.linalg.norm(points - points.mean(0), axis=-1).mean()
    return float(distance / max(hand_landmarks.size(views[0]), 1e-6))


def _mean(views: Sequence[DetectedHand], score: float) -> DetectedHand:
    return DetectedHand(
        points=np.mean([view.points for view in views], axis=0),
        world=np.mean([view.world for view in views], axis=0),
        score=min(score, 1.0),
        right=float(np.mean([view.right for view in views])),
    )


def has_hand(face: DetectedFace, hands: Sequence[DetectedHand]) -> bool:
    """Whether a sure hand is near the face."""
    center, size, _ = _pose(face)
    sure = [hand for hand in hands if hand.score > _SURE_ENOUGH]
    gaps = [np.linalg.norm(hand.points[:, :2] - center, axis=-1).min() for hand in sure]
    return any(gap < 1.5 * size for gap in gaps)


def _shown(square: Square, known: Sequence[DetectedHand]) -> bool:
    """Whether the square is about the one around a hand found before."""
    for hand in known:
        other = hand_landmarks.square_around(hand.points[:, :2])
        turn = np.cos(square.angle - other.angle)
        ratio = square.side / other.side
        near = np.linalg.norm(square.center - other.center) < 0.25 * other.side
        if near and turn > 0.7 and 0.6 < ratio < 1.6:
            return True
    return False


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
