"""The geometry around the hand network, which known functions replace."""

import numpy as np
import pytest

from dice_jax.detection import hand_landmarks
from dice_jax.detection.single_shot import Box
from dice_jax.detection.squares import Pyramid, Square


class FakeNetwork:
    """Sees points (21, 2) of a photo in any square, and world points in the square's axes."""

    size = 224

    def __init__(self, photo_points, square, world, right):
        matrix = square.matrix(self.size)
        inside = (photo_points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        depth = np.arange(21.0)[:, None]
        local = np.column_stack([world[:, :2] @ square.axes(), world[:, 2]])
        outputs = np.column_stack([inside, depth]), np.array([0.8]), np.array([right]), local
        self.outputs = [output.ravel() for output in outputs]

    def __call__(self, image):
        assert image.shape == (self.size, self.size, 3)
        return self.outputs


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_points_are_mapped_back_to_photo_and_camera(rng, monkeypatch, angle, mirrored):
    points, world = rng.uniform(60, 160, (21, 2)), rng.normal(size=(21, 3))
    square = Square(np.array([110.0, 100.0]), 150.0, angle, mirrored)
    network = FakeNetwork(points, square, world, right=0.1)
    monkeypatch.setattr(hand_landmarks.runtime, "network", lambda spec: network)
    hand = hand_landmarks.find(Pyramid(np.zeros((200, 220, 3), np.uint8)), square)
    np.testing.assert_allclose(hand.points[:, :2], points, atol=1e-6)
    np.testing.assert_allclose(hand.world, world, atol=1e-9)
    assert hand.points[0, 2] == 0 and hand.points[5, 2] == pytest.approx(5 * 150 / 224 / 0.4)
    assert hand.score == 0.8 and hand.right == pytest.approx(0.9 if mirrored else 0.1)


def test_the_tracking_square_is_upright_in_the_direction_of_the_hand(rng):
    straight = np.array([[0, -i * 10.0] for i in range(21)])
    up = straight + rng.normal(0, 1e-3, (21, 2)) + [100, 300]
    right = (up - up[0]) @ np.array([[0, 1], [-1, 0]]) + up[0]
    square = hand_landmarks.square_around(up)
    assert abs(np.sin(square.angle)) < 0.01
    assert np.cos(hand_landmarks.square_around(right).angle - square.angle) == pytest.approx(
        0, abs=0.01
    )


def test_the_square_of_a_palm_lies_towards_the_fingers():
    keypoints = np.zeros((7, 2))
    keypoints[0], keypoints[2] = [100.0, 100.0], [140.0, 100.0]  # the fingers point to the right
    square = hand_landmarks.square_around_palm(Box(np.array([120.0, 100.0]), 40.0, keypoints, 0.9))
    np.testing.assert_allclose(square.center, [140, 100])
    assert square.side == pytest.approx(104) and square.angle == pytest.approx(np.pi / 2)
