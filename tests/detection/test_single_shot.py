"""The detectors' anchors and the removal of duplicates."""

import numpy as np
import pytest

from dice_jax.detection import single_shot
from dice_jax.detection.single_shot import Box
from dice_jax.detection.squares import Pyramid, Square, around_photo


@pytest.mark.parametrize(("size", "count"), [(128, 896), (192, 2016)])
def test_there_is_an_anchor_for_each_output_of_the_networks(size, count):
    anchors = single_shot.anchors(size)
    assert anchors.shape == (count, 2) and anchors.min() > 0 and anchors.max() < 1
    np.testing.assert_allclose(anchors.mean(axis=0), 0.5, atol=1e-9)


def box(x, y, side, score):
    return Box(np.array([x, y]), side, np.zeros((7, 2)), score)


def test_the_surest_of_overlapping_boxes_stays():
    near, surest, other = (
        box(10.0, 10.0, 8.0, 0.6),
        box(11.0, 10.0, 8.0, 0.9),
        box(40.0, 9.0, 8, 0.7),
    )
    assert single_shot.without_duplicates([near, other, surest]) == [surest, other]


@pytest.mark.parametrize("mirrored", [False, True])
def test_keypoints_are_the_same_from_another_square(portrait, mirrored):
    photo = Pyramid(portrait)
    whole = around_photo(*portrait.shape[:2])
    plain = single_shot.faces(photo, whole)[0]
    other = single_shot.faces(photo, Square(whole.center - 20, 1.2 * whole.side, 0.2, mirrored))[0]
    assert np.linalg.norm(plain.center - other.center) < 0.1 * plain.side
    order = [1, 0, 2, 3, 5, 4] if mirrored else [0, 1, 2, 3, 4, 5]
    distance = np.linalg.norm(plain.keypoints - other.keypoints[order], axis=-1)
    assert distance[:4].max() < 0.12 * plain.side
