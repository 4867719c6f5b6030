"""Hands at a face, none where there is none, and duplicates."""

import dataclasses

import numpy as np
import pytest

from dice_jax.detection import faces, hand_landmarks, hands
from dice_jax.detection.results import DetectedHand
from dice_jax.detection.squares import Pyramid


def find(photo):
    pyramid = Pyramid(photo)
    return hands.find_all(pyramid, faces.find_all(pyramid))


def hand_at(x, y, rng, score=0.9):
    points = np.column_stack([rng.uniform(0, 100, (21, 2)) + [x, y], np.zeros(21)])
    return DetectedHand(points, rng.normal(0, 0.05, (21, 3)), score, 0.9)


def test_the_hand_of_a_scene_is_found_once_and_is_a_right_one(any_scene):
    found = find(any_scene)
    assert len(found) == 1
    assert found[0].score > 0.5 and found[0].right > 0.9


def test_the_hand_is_found_in_a_larger_photo(scene):
    wide = np.pad(scene, ((100, 300), (350, 50), (0, 0)), constant_values=180)
    (plain,), (moved,) = find(scene), find(wide)
    error = np.linalg.norm(moved.points[:, :2] - plain.points[:, :2] - [350, 100], axis=-1)
    assert error.mean() < 0.06 * hand_landmarks.size(plain)


def test_a_portrait_without_a_hand_has_none(portrait):
    assert find(portrait) == []


def test_the_work_is_bounded(calls, rng):
    find(rng.integers(0, 256, (40, 3000, 3), np.uint8))
    assert len(calls) <= 300


def test_points_at_the_same_places_are_the_same_hand(rng):
    hand = hand_at(100, 100, rng)
    moved = dataclasses.replace(hand, points=hand.points + 3.0, score=0.99)
    other = hand_at(400, 100, rng)
    assert hands.without_duplicates([hand, other, moved]) == [moved, other]


def test_two_sure_hands_at_one_place_are_two(rng):
    """Clasped hands; a doubtful one there is taken for the other with its fingers mistaken."""
    first = hand_at(0, 0, rng, 0.999)
    crossing = dataclasses.replace(first, points=first.points[::-1].copy(), score=0.995)
    assert len(hands.without_duplicates([first, crossing])) == 2
    doubtful = dataclasses.replace(crossing, score=0.7)
    assert hands.without_duplicates([first, doubtful]) == [first]


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_world_points_are_in_the_axes_of_the_camera(scene, turns):
    """Seen along the optical axis they look like the points in the photo, also in a turned one."""
    hand = find(np.ascontiguousarray(np.rot90(scene, turns)))[0]
    centered = lambda points: (points - points.mean(0)).ravel()
    pixels, meters = centered(hand.points[:, :2]), centered(hand.world[:, :2])
    assert np.corrcoef(pixels, meters)[0, 1] > 0.97
    depth = np.corrcoef(hand.points[:, 2], hand.world[:, 2])[0, 1]
    assert depth > 0.3
    assert 0.1 < np.linalg.norm(np.ptp(hand.world, axis=0)) < 0.3
