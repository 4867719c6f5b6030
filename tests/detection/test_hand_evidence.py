"""Hands are told from other things that the network takes for hands in some squares."""

import numpy as np
import pytest

from dice_jax.detection import hand_evidence, hand_landmarks, single_shot
from dice_jax.detection.squares import Pyramid, Square, around_photo


def raw_hand(photo, turn=0.0):
    """The hand in the square of the surest palm, turned off by `turn`."""
    palm = single_shot.palms(photo, around_photo(photo.height, photo.width), 0.3)[0]
    square = hand_landmarks.square_around_palm(palm)
    return hand_landmarks.find(photo, Square(square.center, square.side, square.angle + turn))


def test_a_sure_hand_costs_one_more_look(scene, calls):
    photo = Pyramid(scene)
    hand = raw_hand(photo)
    calls.clear()
    verified = hand_evidence.verify(photo, [hand])
    assert calls == [224] and verified.score > hand_evidence.SURE
    gap = np.linalg.norm(verified.points - hand.points, axis=-1).mean()
    assert gap < 0.1 * hand_landmarks.size(hand)


@pytest.mark.parametrize("turn", [-0.5, 0.5])
def test_a_badly_placed_square_gives_the_same_hand(scene, turn):
    photo = Pyramid(scene)
    expected = hand_evidence.verify(photo, [raw_hand(photo)])
    verified = hand_evidence.verify(photo, [raw_hand(photo, turn)])
    gap = np.linalg.norm(verified.points[:, :2] - expected.points[:, :2], axis=-1).mean()
    assert verified.score > 0.5 and gap < 0.12 * hand_landmarks.size(expected)


@pytest.mark.parametrize("center", [(203, 128), (150, 120), (203, 90), (200, 300)])
def test_parts_of_a_portrait_are_no_hands(portrait, center):
    photo = Pyramid(portrait)
    for side in (60.0, 120.0):
        hand = hand_landmarks.find(photo, Square(np.array(center, float), side))
        assert hand_evidence.verify(photo, [hand]).score < 0.5
