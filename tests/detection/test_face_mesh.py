"""The squares around a face, and the points in them."""

import numpy as np
import pytest

from dice_jax.detection import face_mesh, single_shot
from dice_jax.detection.squares import Pyramid, around_photo


def test_the_tracking_square_turns_with_the_points(rng):
    points = rng.uniform(0, 100, (468, 2))
    points[33], points[263] = [20.0, 50.0], [80.0, 50.0]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # a point on the x axis moves to the y axis
    plain, turned = face_mesh.square_around(points), face_mesh.square_around(points @ turn.T)
    assert plain.angle == pytest.approx(0)
    assert turned.angle == pytest.approx(np.pi / 2) and turned.side == pytest.approx(plain.side)
    np.testing.assert_allclose(turned.center, turn @ plain.center)


def test_points_lie_on_the_face_and_the_nose_is_nearest(portrait):
    photo = Pyramid(portrait)
    box = single_shot.faces(photo, around_photo(*portrait.shape[:2]))[0]
    face = face_mesh.find(photo, face_mesh.square_around_box(box))
    assert face.score > 0.99
    nose_tip = face.points[4]
    assert np.linalg.norm(nose_tip[:2] - [203, 128]) < 0.1 * face_mesh.size(face)  # by eye
    assert nose_tip[2] < face.points[[234, 454], 2].min()  # the sides of the face are farther away
