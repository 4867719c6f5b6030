"""Faces at any place, size and direction, none in empty photos, and bounded work."""

import cv2
import numpy as np
import pytest

from dice_jax.detection import face_mesh, faces
from dice_jax.detection.squares import Pyramid

NOSE = np.array([203.0, 128.0])  # of the portrait, pixels, located by eye


def gradient(height, width):
    row = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, -1)


@pytest.mark.parametrize(("scale", "left", "top"), [(1.0, 700, 100), (0.3, 40, 500), (2.0, 0, 300)])
def test_a_face_is_found_at_any_place_and_size(portrait, scale, left, top):
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    photo = np.full((1100, 1500, 3), 200, np.uint8)
    photo[top : top + len(small), left : left + len(small[0])] = small
    found = faces.find_all(Pyramid(photo))
    assert len(found) == 1
    nose = found[0].points[4, :2]
    assert np.linalg.norm(nose - (NOSE * scale + [left, top])) < 0.1 * face_mesh.size(found[0])


def test_a_face_of_20_pixels_is_found_or_there_is_none(portrait):
    small = cv2.resize(portrait, None, fx=0.19, fy=0.19, interpolation=cv2.INTER_AREA)
    photo = np.full((300, 400, 3), 160, np.uint8)
    photo[100 : 100 + len(small), 150 : 150 + len(small[0])] = small
    found = faces.find_all(Pyramid(photo))
    assert len(found) == 1 and 12 < face_mesh.size(found[0]) < 30
    assert np.linalg.norm(found[0].points[4, :2] - (NOSE * 0.19 + [150, 100])) < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_on_its_side_or_upside_down_is_found(portrait, turns):
    upright = faces.find_all(Pyramid(portrait))[0]
    turned = faces.find_all(Pyramid(np.ascontiguousarray(np.rot90(portrait, turns))))[0]
    roll = face_mesh.roll(upright) - turns * np.pi / 2
    assert np.cos(face_mesh.roll(turned) - roll) > 0.99
    assert turned.score > 0.9


def cut_at(photo, left, top):
    """The photo without these shares of the face's width and height, and its points there."""
    whole = faces.find_all(Pyramid(photo))[0].points[:, :2]
    low, high = whole.min(0), whole.max(0)
    x, y = np.maximum(low + (high - low) * [left, top], 0).astype(int)
    return np.ascontiguousarray(photo[y:, x:]), whole - [x, y]


@pytest.mark.parametrize(("left", "top"), [(0.35, 0.35), (0.45, 0.45), (-9, 0.45), (0.55, -9)])
def test_a_face_that_is_cut_by_the_border_is_found(portrait, left, top):
    part, expected = cut_at(portrait, left, top)
    inside = ((expected > 0) & (expected < part.shape[1::-1])).all(1)
    assert 0.2 < inside.mean() < 0.7
    (face,) = faces.find_all(Pyramid(part))
    error = np.linalg.norm(face.points[:, :2] - expected, axis=-1)[inside].mean()
    assert error < 0.08 * np.ptp(expected, axis=0).max()


def test_no_face_is_made_up_from_a_quarter_of_one(any_scene):
    part, expected = cut_at(any_scene, 0.6, 0.6)
    size = np.ptp(expected, axis=0).max()
    for face in faces.find_all(Pyramid(part)):
        assert np.linalg.norm(face.points[:, :2] - expected, axis=-1).mean() < 0.15 * size


def test_a_face_is_not_made_up_from_a_chin(portrait):
    whole = faces.find_all(Pyramid(portrait))[0].points[:, :2]
    chin = portrait[int(whole[:, 1].max()) - 4 :]
    assert faces.find_all(Pyramid(np.ascontiguousarray(chin))) == []


def test_a_part_of_a_face_is_not_another_face(portrait):
    large = cv2.resize(portrait[30:230, 100:300], (900, 900))
    assert len(faces.find_all(Pyramid(large))) == 1


@pytest.mark.parametrize("kind", ["black", "noise", "gradient"])
def test_empty_photos_have_no_face(rng, kind):
    photos = {
        "black": np.zeros((300, 500, 3), np.uint8),
        "noise": rng.integers(0, 256, (300, 500, 3), np.uint8),
        "gradient": gradient(300, 500),
    }
    assert faces.find_all(Pyramid(photos[kind])) == []


@pytest.mark.parametrize("shape", [(40, 8000), (8000, 40), (1, 1), (3000, 3000)])
def test_the_work_is_bounded_whatever_the_shape(calls, shape):
    faces.find_all(Pyramid(gradient(*shape)))
    assert len(calls) <= 300
