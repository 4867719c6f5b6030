"""Which hand belongs to which face."""

import numpy as np
import pytest

from dice_jax.detection import assignment
from dice_jax.detection.results import DetectedFace, DetectedHand


def face_at(x, y, size=190.0):
    """A face of `size` pixels: a grid of points, eyes level. 190 pixels are 1000 per meter."""
    rows, columns = np.divmod(np.arange(468), 22)
    points = np.stack([columns / 21 - 0.5, rows / 21 - 0.5, np.zeros(468)], -1)
    points[33, :2], points[263, :2] = [-0.25, -0.1], [0.25, -0.1]
    return DetectedFace(points * size + [x, y, 0], 1.0)


def hand_at(x, y, scale=1000.0, right=0.95, score=0.99):
    """A hand with `scale` pixels per meter."""
    world = np.random.default_rng(0).uniform(-0.08, 0.08, (21, 3))
    world -= world.mean(0)
    return DetectedHand(world * scale + [x, y, 0], world, score, right)


def hands_of(faces, hands):
    people = assignment.people(faces, hands)
    index_of = {id(hand): index for index, hand in enumerate(hands)}
    return [[index_of[id(hand)] for hand in person.hands] for person in people]


def test_the_scale_of_a_hand():
    assert assignment.pixels_per_meter(hand_at(50, 70, scale=1234.0)) == pytest.approx(1234)


def test_each_hand_belongs_to_the_nearest_face():
    faces = [face_at(300, 300), face_at(900, 300)]
    hands = [hand_at(850, 400), hand_at(350, 400), hand_at(250, 380, right=0.1)]
    assert hands_of(faces, hands) == [[1, 2], [0]]


def test_a_person_has_at_most_one_hand_of_a_side():
    near, other = hand_at(320, 400), hand_at(450, 400)
    assert hands_of([face_at(300, 300)], [near, other]) == [[0], [1]]
    assert hands_of([face_at(300, 300), face_at(700, 300)], [near, other]) == [[0], [1]]


@pytest.mark.parametrize("scale", [300.0, 5000.0])
def test_a_hand_of_another_size_is_somebody_elses(scale):
    people = assignment.people([face_at(300, 300)], [hand_at(800, 300, scale=scale)])
    assert people[0].hands == () and people[1].face is None


def test_a_small_hand_inside_a_face_is_a_part_of_it():
    assert hands_of([face_at(300, 300)], [hand_at(330, 320, scale=400.0)]) == [[]]


def test_a_distant_hand_is_nobodys():
    assert hands_of([face_at(300, 300)], [hand_at(1500, 300)]) == [[], [0]]


def test_the_surest_hand_comes_first_and_nothing_gives_nobody():
    hands = [hand_at(320, 400, score=0.7), hand_at(280, 400, right=0.1, score=0.9)]
    assert hands_of([face_at(300, 300)], hands) == [[1, 0]]
    assert assignment.people([], []) == []


def test_two_hands_of_one_side_are_both_hands_where_that_is_asked_for():
    near, other = hand_at(320, 400, right=0.9), hand_at(450, 400, right=0.7)
    (person,) = assignment.people([face_at(300, 300)], [near, other], both=True)
    assert [(hand.right, hand.points[0, 0]) for hand in person.hands] == [
        (0.9, near.points[0, 0]),
        (0.0, other.points[0, 0]),  # the one whose side is less sure
    ]
    left, surer = hand_at(320, 400, right=0.3), hand_at(450, 400, right=0.1)
    (person,) = assignment.people([face_at(300, 300)], [left, surer], both=True)
    assert [hand.right for hand in person.hands] == [1.0, 0.1]


def test_a_second_hand_is_not_taken_from_another_face():
    faces = [face_at(300, 300), face_at(700, 300)]
    hands = [hand_at(320, 400), hand_at(680, 400), hand_at(1900, 300)]
    people = assignment.people(faces, hands, both=True)
    assert [len(person.hands) for person in people] == [1, 1, 1]
    assert people[0].hands[0] is hands[0] and people[1].hands[0] is hands[1]
