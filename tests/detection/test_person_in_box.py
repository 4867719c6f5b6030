"""A person chosen with a rectangle, also where the detectors miss the face."""

import cv2
import numpy as np
import pytest

from dice_jax.detection import face_mesh, faces, person_in_box
from dice_jax.detection.people import find_people
from dice_jax.detection.person_in_box import find_in_box


def corners(points, margin=0.3):
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return np.concatenate([low - margin * (high - low), high + margin * (high - low)])


@pytest.fixture(scope="module")
def pair(portrait):
    return np.concatenate([portrait, portrait[:, ::-1]], axis=1)


def test_each_of_two_people_is_the_one_of_their_rectangle(pair):
    people = find_people(pair)
    assert len(people) == 2
    for person in people:
        for margin in (0.02, 0.3, 0.8):  # the face alone, or with everything around it
            found = find_in_box(pair, corners(person.face.points, margin))
            np.testing.assert_array_equal(found.face.points, person.face.points)


def test_of_two_people_in_the_rectangle_it_is_the_one_who_fills_it_best(pair):
    large = cv2.resize(pair[:, 400:], None, fx=1.6, fy=1.6)
    photo = np.full((large.shape[0], 400 + large.shape[1], 3), 120, np.uint8)
    photo[:400, :400], photo[:, 400:] = pair[:, :400], large
    people = find_people(photo)
    both = corners(np.concatenate([person.face.points for person in people]), 0.0)
    found = find_in_box(photo, both)
    np.testing.assert_array_equal(found.face.points, people[0].face.points)  # the larger one


def test_a_face_that_the_detector_misses_is_found_in_its_rectangle(scene, portrait, monkeypatch):
    for photo in (portrait, scene):
        (expected,) = find_people(photo)
        with monkeypatch.context() as patch:
            patch.setattr(faces, "find_all", lambda photo: [])
            assert all(person.face is None for person in find_people(photo))
            found = find_in_box(photo, corners(expected.face.points))
        error = np.linalg.norm((found.face.points - expected.face.points)[:, :2], axis=-1)
        assert error.mean() < 0.05 * face_mesh.size(expected.face)
        assert len(found.hands) == len(expected.hands)


def test_the_rectangle_is_searched_by_itself_where_the_whole_photo_shows_nothing(
    portrait, monkeypatch
):
    wide = np.full((1200, 1600, 3), 90, np.uint8)
    wide[500:900, 700:1100] = portrait
    (expected,) = find_people(wide)
    seen = []

    def blind_to_whole_photos(photo, *arguments, **options):
        seen.append(photo.shape)
        return [] if photo.shape == wide.shape else find_people(photo, *arguments, **options)

    monkeypatch.setattr(person_in_box, "find_people", blind_to_whole_photos)
    found = find_in_box(wide, corners(expected.face.points))
    assert len(seen) == 2 and seen[1] < seen[0]
    error = np.linalg.norm(found.face.points[:, :2] - expected.face.points[:, :2], axis=-1)
    assert error.mean() < 0.05 * face_mesh.size(expected.face)


def test_nobody_is_made_up(rng, portrait):
    noise = rng.integers(0, 256, (200, 300, 3), np.uint8)
    for photo in (noise, np.full((200, 300, 3), 128, np.uint8), portrait[:90]):
        assert find_in_box(photo, np.array([10.0, 5.0, 250.0, 85.0])) is None
