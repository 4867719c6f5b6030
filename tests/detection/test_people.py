"""People in turned and mirrored photos, in sequences, and in photos without any."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import dice_jax
from dice_jax.detection import face_mesh, hand_evidence, hand_landmarks
from dice_jax.detection.people import find_people
from dice_jax.io import images

SAMPLES = Path(dice_jax.__file__).parent / "samples"


def turned(points, turns, height, width):
    """Points (K, 2) of a photo in its copy that is turned counterclockwise by 90 degrees each."""
    for _ in range(turns):
        points = np.stack([points[:, 1], width - points[:, 0]], -1)
        height, width = width, height
    return points


def error(found, expected, size):
    return np.linalg.norm(found[:, :2] - expected, axis=-1).mean() / size


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_landmarks_turn_with_the_photo(scene, turns):
    (before,), (after,) = find_people(scene), find_people(np.rot90(scene, turns))
    move = lambda points: turned(points[:, :2], turns, *scene.shape[:2])
    face, hand = before.face, before.hands[0]
    assert error(after.face.points, move(face.points), face_mesh.size(face)) < 0.04
    size = hand_landmarks.size(hand)
    assert error(after.hands[0].points, move(hand.points), size) < 0.06
    assert after.hands[0].right > 0.8


def test_a_mirrored_photo_swaps_the_side(scene):
    (before,), (after,) = find_people(scene), find_people(scene[:, ::-1])
    hand, mirrored = before.hands[0], after.hands[0]
    assert hand.right > 0.9 and mirrored.right < 0.1
    expected = hand.points[:, :2] * [-1, 1] + [scene.shape[1], 0]
    assert error(mirrored.points, expected, hand_landmarks.size(hand)) < 0.06
    meters = np.linalg.norm(mirrored.world - hand.world * [-1, 1, 1], axis=-1)
    assert meters.mean() < 0.012


def test_following_agrees_with_a_fresh_detection(scene, calls):
    previous = find_people(scene)
    moved = np.roll(scene, (4, 5), axis=(0, 1))
    fresh = find_people(moved)
    calls.clear()
    followed = find_people(moved, previous)
    assert calls.count(128) == 0 and len(calls) < 20
    (a,), (b,) = fresh, followed
    assert error(a.face.points, b.face.points[:, :2], face_mesh.size(a.face)) < 0.04
    size = hand_landmarks.size(a.hands[0])
    assert error(a.hands[0].points, b.hands[0].points[:, :2], size) < 0.06


def test_detection_starts_again_where_following_fails(scene, portrait):
    people = find_people(portrait, find_people(scene))
    assert len(people) == 1 and people[0].hands == ()
    fresh = find_people(portrait)[0].face
    assert error(people[0].face.points, fresh.points[:, :2], face_mesh.size(fresh)) < 0.04


def test_points_that_are_no_numbers_are_not_followed(scene):
    (person,) = find_people(scene)
    broken = dataclasses.replace(person.face, points=np.full((468, 3), np.nan))
    (found,) = find_people(scene, [dataclasses.replace(person, face=broken)])
    np.testing.assert_array_equal(found.face.points, person.face.points)


def test_a_hand_that_comes_into_view_is_found(scene):
    (person,) = find_people(scene)
    face_only = dataclasses.replace(person, hands=())
    assert find_people(scene, [face_only])[0].hands


def test_two_people_side_by_side(scene, portrait):
    canvas = np.full((400, 700, 3), 150, np.uint8)
    canvas[:, :400], canvas[150:374, 450:674] = portrait, scene
    people = find_people(canvas)
    assert [len(person.hands) for person in people] in ([0, 1], [1, 0])
    sizes = [face_mesh.size(person.face) for person in people]
    assert sizes == sorted(sizes, reverse=True)
    owner = next(person for person in people if person.hands)
    assert owner.face.points[:, 0].mean() > 450


def test_of_four_hands_each_face_has_at_most_two(scene):
    """Two people, and each of them twice: no face gets more hands than a person has."""
    mirrored = scene[:, ::-1]
    photo = np.concatenate(
        [np.concatenate([scene, mirrored], 1), np.concatenate([mirrored, scene], 1)]
    )
    people = find_people(np.ascontiguousarray(photo))
    assert sum(person.face is not None for person in people) == 4
    for person in people:
        sides = [hand.right > 0.5 for hand in person.hands]
        assert len(sides) == len(set(sides))


@pytest.mark.parametrize("shape", [(8, 8), (300, 400)])
def test_nothing_gives_nobody(rng, shape):
    assert find_people(np.zeros((*shape, 3), np.uint8)) == []
    assert find_people(rng.integers(0, 256, (*shape, 3), np.uint8)) == []


def test_the_same_photo_gives_the_same_bits(scene):
    (a,), (b,) = find_people(scene), find_people(scene)
    np.testing.assert_array_equal(a.face.points, b.face.points)
    np.testing.assert_array_equal(a.hands[0].world, b.hands[0].world)


def test_a_strip_costs_a_bounded_number_of_calls(calls):
    strip = np.zeros((40, 8000, 3), np.uint8)
    strip[:, ::7] = 255
    find_people(strip)
    assert len(calls) <= 400


def test_both_hands_are_found_where_one_is_doubtful(monkeypatch):
    """A scene whose right half is the mirror image of its left half, the latter with a hand."""
    scene = images.read_image(SAMPLES / "scene_open_near.jpg")
    middle = scene.shape[1] // 2
    symmetric = np.concatenate([scene[:, :middle], scene[:, :middle][:, ::-1]], axis=1)
    verify = hand_evidence.verify

    def doubting(photo, candidates, palm_scores=()):
        hand = verify(photo, candidates, palm_scores)
        on_the_right = hand.points[:, 0].mean() > middle
        return dataclasses.replace(hand, score=0.3 * hand.score) if on_the_right else hand

    monkeypatch.setattr(hand_evidence, "verify", doubting)
    (person,) = find_people(symmetric)
    assert [hand.right > 0.5 for hand in person.hands] == [True]
    (person,) = find_people(symmetric, both_hands=True)
    right, left = person.hands
    assert right.right > 0.5 > left.right and left.score < 0.5
    expected = right.points[:, :2] * [-1, 1] + [symmetric.shape[1], 0]
    assert error(left.points, expected, hand_landmarks.size(left)) < 0.1
    (followed,) = find_people(symmetric, [person], both_hands=True)
    assert len(followed.hands) == 2


def test_both_hands_are_not_made_up(any_scene):
    """Every scene has one hand."""
    (alone,), (both,) = find_people(any_scene), find_people(any_scene, both_hands=True)
    assert len(both.hands) == 1
    np.testing.assert_array_equal(both.hands[0].points, alone.hands[0].points)
