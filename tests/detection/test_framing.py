"""The crop around a person, and which way up a photo is."""

import numpy as np
import pytest

from dice_jax.detection import framing
from dice_jax.detection.people import find_people
from dice_jax.detection.results import DetectedPerson


def test_the_box_holds_head_and_hand(any_scene):
    (person,) = find_people(any_scene)
    wide = 3 * np.array(any_scene.shape[:2])
    box = framing.person_box(person, *wide.tolist())
    points = np.concatenate([person.face.points, person.hands[0].points])[:, :2]
    outer = points[(points > 0).all(-1)]
    assert (outer > [box.left, box.top]).all()
    assert (outer < np.array([box.left, box.top]) + box.size).all()
    head = framing.head_box(person.face)
    above, below = (
        person.face.points[:, 1].min() - head[1],
        head[3] - person.face.points[:, 1].max(),
    )
    assert above > 1.2 * below  # the skull


def test_a_box_without_a_hand_leaves_room_for_one(portrait):
    (person,) = find_people(portrait)
    head = framing.head_box(person.face)
    box = framing.person_box(person, 2000, 2000)
    assert box.size == pytest.approx(1.4 * max(head[2:] - head[:2]))


def test_a_box_with_a_hand_alone_leaves_room_for_the_head(scene):
    (person,) = find_people(scene)
    alone = framing.person_box(DetectedPerson(None, person.hands), 900, 900)
    hand = framing.hand_box(person.hands[0])
    assert alone.size == pytest.approx(1.6 * max(hand[2:] - hand[:2]))


def test_the_box_of_nothing_is_the_center():
    box = framing.person_box(DetectedPerson(None, ()), 100, 200)
    assert (box.left, box.top, box.size) == (50, 0, 100)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_turns_undo_those_of_the_photo(portrait, turns):
    photo = np.rot90(portrait, -turns).copy()
    assert framing.upright_turns(photo) == turns


def test_a_photo_without_a_face_is_upright():
    assert framing.upright_turns(np.zeros((60, 80, 3), np.uint8)) == 0
