"""Glasses, masks and held things: outside of the head, hidden where they are not worn."""

import dataclasses

import numpy as np
import pytest
import trimesh

from dice_jax.body_models import load_hand, load_head
from dice_jax.synthetic import things
from dice_jax.synthetic.penetration import outward_normals
from dice_jax.synthetic.placed_hand import absent_hand
from dice_jax.synthetic.sample import sample_person

FAR = np.full((778, 3), 5.0)


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def vertices(head):
    return np.asarray(head.v_template, np.float64)


@pytest.fixture(scope="module")
def landmarks(head, vertices):
    corners = vertices[np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]]
    return np.einsum("lk,lkc->lc", np.asarray(head.lmk_bary_coords), corners)


def is_hidden(part):
    return np.ptp(part.vertices, axis=0).max() == 0


def test_worn_glasses_are_in_front_of_the_eyes_and_outside_of_the_head(head, vertices, landmarks):
    closed = trimesh.Trimesh(vertices, np.asarray(head.closed_faces), process=False)
    eyes = (np.asarray(head.J_regressor) @ vertices)[3:]
    for seed in range(5):
        wear = things.Wear("worn", dark_glasses=True, mask=False)
        frame, lenses = things.glasses(landmarks, vertices, FAR, wear, np.random.default_rng(seed))
        front = frame.vertices[frame.vertices[:, 2] > eyes[0, 2]]
        assert closed.contains(front).mean() < 0.05
        assert np.abs(lenses.vertices.mean(0)[:2] - eyes.mean(0)[:2]).max() < 0.015
        assert lenses.vertices[:, 2].min() > eyes[0, 2]


def test_what_is_not_worn_is_hidden_and_hands_take_glasses_off(vertices, landmarks, rng):
    wear = things.Wear("", dark_glasses=True, mask=False)
    assert all(map(is_hidden, things.glasses(landmarks, vertices, FAR, wear, rng)))
    wear = dataclasses.replace(wear, glasses="worn")
    frame, _ = things.glasses(landmarks, vertices, FAR, wear, np.random.default_rng(0))
    hand = np.tile(frame.vertices[0], (778, 1))
    assert all(
        map(is_hidden, things.glasses(landmarks, vertices, hand, wear, np.random.default_rng(0)))
    )


def test_a_mask_covers_mouth_and_nose_from_outside(head, vertices):
    normals = outward_normals(vertices, head)
    mask = things.FaceMask(head)
    wear = things.Wear("", dark_glasses=False, mask=True)
    part = mask.part(vertices, normals, FAR, wear)
    closed = trimesh.Trimesh(vertices, np.asarray(head.closed_faces), process=False)
    assert closed.contains(part.vertices).mean() < 0.1
    lips = vertices[np.asarray(head.region("lips"))]
    distance = np.linalg.norm(lips[:, None] - part.vertices, axis=-1).min(1)
    assert distance.max() < 0.02 and part.vertices[:, 2].max() > lips[:, 2].max()
    assert is_hidden(mask.part(vertices, normals, FAR, dataclasses.replace(wear, mask=False)))


@pytest.mark.parametrize("gesture", ["phone_ear", "drink", "smoke"])
def test_things_are_held_at_the_fingers_by_the_gestures_that_hold_them(gesture):
    hand = load_hand()
    joints = np.asarray(hand.J_regressor) @ np.asarray(hand.v_template)
    keypoints = np.zeros((21, 3))
    keypoints[[0, 5, 6, 7, 9, 10, 11, 17, 13]] = joints[[0, 1, 2, 3, 4, 5, 6, 7, 10]]
    keypoints[[4, 8, 12, 16, 20]] = np.asarray(hand.v_template)[np.asarray(hand.tip_ids)]
    placed = dataclasses.replace(
        absent_hand(sample_person(0, 0)), gesture=gesture, keypoints=keypoints
    )
    inside = np.zeros(3)
    part = things.held_thing(placed, inside)
    shown = part.vertices[np.abs(part.vertices).max(1) > 0]
    palm = keypoints[[0, 5, 9, 17]].mean(0)
    assert 0.01 < np.linalg.norm(shown.mean(0) - palm) < 0.12
    assert shown.mean(0)[1] < palm[1] + 0.005  # on the side of the palm
    nothing = things.held_thing(dataclasses.replace(placed, gesture="hush"), inside)
    assert is_hidden(nothing) and len(nothing.vertices) == len(part.vertices)
