"""How sure it is that a candidate is a hand: it is looked at again from other squares.

The network's own presence is often high for ears, noses and folds of clothes, but only in some
squares, and with other points in each. The palm detector serves as a second witness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dice_jax.detection import hand_landmarks, runtime, single_shot
from dice_jax.detection.results import DetectedHand
from dice_jax.detection.squares import Pyramid, Square

SURE = 0.98  # mean presence above which no more evidence is needed
_MAX_SPREAD = 0.04  # between the points of two squares, in hand sizes, for the same
# Squares of a doubtful hand: mirrored, turn in radians, zoom. The part of all answers that agrees
# best counts.
_VIEWS = ((False, 0.35, 1.0), (False, -0.35, 1.0), (True, 0.0, 1.2), (False, 0.0, 0.85))
_AGREEING = 0.6
# Squares in which the palm detector should see a doubtful hand: side in sides of the hand's square,
# turn in radians, mirrored.
_PALM_VIEWS = ((1.5, 0.0, False), (2.5, np.pi, True), (4.0, np.pi / 2, False))
# Weights of the evidence in a logistic model, chosen by hand on 85 photos with and without hands:
# of the mean score of the palm detector, of the spread of the points, and the constant.
_PALM_WEIGHT, _SPREAD_WEIGHT, _CONSTANT = 4.0, 30.0, -1.6


def verify(
    photo: Pyramid, candidates: Sequence[DetectedHand], palm_scores: Sequence[float] = ()
) -> DetectedHand:
    """The mean of what several squares around a hand show; `score` says how sure they are.

    Args:
        photo: in which the hand was found.
        candidates: the same hand as the network gave it from one or more squares, the surest first.
            They may differ in which finger is which.
        palm_scores: of the palm detector where it has already seen this hand.
    """
    views: list[DetectedHand] = []
    for hand in candidates:
        pair = [hand, _look(photo, hand, True, 0.0, 1.0)]
        if _presence(pair) > SURE and _spread(pair) < _MAX_SPREAD:
            return _mean(pair, _presence(pair))
        views += pair
    views += [_look(photo, hand, *view) for hand in candidates for view in _VIEWS]
    agreeing = _agreeing(views)
    palm = [*palm_scores, *(_palm_score(photo, candidates[0], *view) for view in _PALM_VIEWS)]
    presence = np.clip(_presence(views), 1e-3, 1 - 1e-3)
    evidence = np.log(presence / (1 - presence)) + _PALM_WEIGHT * np.mean(palm) + _CONSTANT
    evidence -= _SPREAD_WEIGHT * _spread(agreeing)
    return _mean(agreeing, float(runtime.probability(np.array([evidence]))[0]))


def _look(
    photo: Pyramid, hand: DetectedHand, mirrored: bool, turn: float, zoom: float
) -> DetectedHand:
    """The hand seen from another square."""
    square = hand_landmarks.square_around(hand.points[:, :2])
    other = Square(square.center, zoom * square.side, square.angle + turn, mirrored)
    return hand_landmarks.find(photo, other)


def _agreeing(views: Sequence[DetectedHand]) -> list[DetectedHand]:
    """The part of the views whose points are nearest to those of the most central view.

    Mirrored and turned views may take the fingers for each other.
    """
    count = int(np.ceil(_AGREEING * len(views)))
    points = np.stack([view.points[:, :2] for view in views])
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1).mean(-1)
    nearest = np.sort(distance, axis=1)[:, :count].sum(1)
    order = np.argsort(distance[nearest.argmin()], kind="stable")[:count]
    return [views[i] for i in order]


def _palm_score(
    photo: Pyramid, hand: DetectedHand, zoom: float, turn: float, mirrored: bool
) -> float:
    """How sure the palm detector is of the hand; 0 if it does not see it."""
    square = hand_landmarks.square_around(hand.points[:, :2])
    look = Square(square.center, zoom * square.side, square.angle + turn, mirrored)
    scores = [0.0]
    for palm in single_shot.palms(photo, look, 0.05):
        seen = hand_landmarks.square_around_palm(palm)
        gap = np.linalg.norm(seen.center - square.center)
        if gap < 0.35 * square.side and 0.5 < seen.side / square.side < 2.0:
            scores.append(palm.score)
    return max(scores)


def _presence(views: Sequence[DetectedHand]) -> float:
    """The geometric mean of the scores."""
    return runtime.geometric_mean([view.score for view in views])


def _spread(views: Sequence[DetectedHand]) -> float:
    """The mean distance of the views' points from their mean, in hand sizes."""
    points: Float[np.ndarray, "V 21 2"] = np.stack([view.points[:, :2] for view in views])
    distance = np.linalg.norm(points - points.mean(0), axis=-1).mean()
    return float(distance / max(hand_landmarks.size(views[0]), 1e-6))


def _mean(views: Sequence[DetectedHand], score: float) -> DetectedHand:
    return DetectedHand(
        points=np.mean([view.points for view in views], axis=0),
        world=np.mean([view.world for view in views], axis=0),
        score=min(score, 1.0),
        right=float(np.mean([view.right for view in views])),
    )
