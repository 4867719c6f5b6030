"""The geometry around MediaPipe's networks, which are replaced by known functions."""

from pathlib import Path

import numpy as np
import pytest

import dice_jax
from dice_jax.detection import mediapipe_landmarks
from dice_jax.detection.mediapipe_landmarks import HAND_SIZE, Landmarks, Square, square_around_hand
from dice_jax.errors import UserError
from dice_jax.io import images

SCENES = sorted((Path(dice_jax.__file__).parent / "samples").glob("scene_*.jpg"))


def unused(image, square):
    raise AssertionError("the face network is not used")


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_points_in_a_rotated_square_are_mapped_back_to_the_photo(path, rng):
    expected = rng.uniform(60, 160, (21, 2))

    def hand_network(image, square):
        matrix = square.matrix(HAND_SIZE)
        inside = (expected - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        points = np.column_stack([inside, np.zeros(21)])
        return [points.ravel(), np.array([0.8]), np.array([0.1])]

    landmarks = Landmarks(hand_network, unused)
    found = landmarks.hand(images.read_image(path))
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-6)
    assert (found[:, 2] == 0.8).all() and landmarks.is_right is False


def test_the_square_is_upright_in_the_direction_of_the_hand(rng):
    straight = np.array([[0, -i * 10.0] for i in range(21)])
    up = straight + rng.normal(0, 1e-3, (21, 2)) + [100, 300]
    right = (up - up[0]) @ np.array([[0, 1], [-1, 0]]) + up[0]
    angle = square_around_hand(up).angle
    assert abs(np.sin(angle)) < 0.01
    assert np.cos(square_around_hand(right).angle - angle) == pytest.approx(0, abs=0.01)


def test_a_dot_of_the_photo_is_where_the_matrix_of_the_square_maps_it():
    rows, columns = np.mgrid[:300, :400] + 0.5
    dot = np.exp(-((columns - 210.3) ** 2 + (rows - 140.8) ** 2) / 18)
    image = np.repeat((255 * dot).astype(np.uint8)[..., None], 3, -1)
    square = Square(np.array([200.0, 150.0]), 120.0, 0.6)
    seen = square.cut(image, 192)[..., 0]
    rows, columns = np.mgrid[:192, :192] + 0.5
    center = np.array([[(columns * seen).sum(), (rows * seen).sum()]]) / seen.sum()
    np.testing.assert_allclose(square.to_photo(center, 192), [[210.3, 140.8]], atol=0.1)


def test_each_of_the_68_landmarks_is_another_point_of_the_face_mesh():
    assert len(set(mediapipe_landmarks.FACE_68)) == 68


def test_another_file_in_place_of_the_wheel_is_an_error(tmp_path):
    (tmp_path / "other.whl").write_bytes(b"not a zip file")
    with pytest.raises(UserError, match="is not the wheel"):
        Landmarks.from_wheel(tmp_path / "other.whl")
