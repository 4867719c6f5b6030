"""What Decaf's files say of crops, keypoint order, rotations and confidences."""

import numpy as np
import pytest

from dice_jax.body_models import load_hand, load_head
from dice_jax.datasets.decaf import files, labels


@pytest.mark.parametrize(
    "head, hand, left",
    [
        ([600, 1, 800, 2], [700, 1, 900, 2], 750 - 540),
        ([0, 0, 10, 10], [0, 0, 10, 10], 0),
        ([1900, 0, 1910, 9], [1900, 0, 1910, 9], 840),
        ([-1, 0, 5, 5], [np.nan] * 4, 420),
        ([-1, -1, -1, -1], [800, 0, 1000, 5], (1920 + 1800) / 4 - 540),
    ],
)
def test_the_crop_is_the_references(head, hand, left):
    assert labels.crop_left(np.array(head), np.array(hand), 1920, 1080) == left


def test_the_keypoint_order_is_found_unless_nothing_was_detected(download):
    root, _ = download
    take, view = files.read_take(root, "train", "S2"), files.read_view(root, "train", "S2", "084")
    points = labels.centers(take, load_hand(), load_head())
    undetected = files.View(
        view.head_keypoints, view.hand_keypoints * np.nan, view.head_boxes, view.hand_boxes
    )
    order, errors = labels.keypoint_order(take, points, undetected, "084")
    assert np.isnan(errors["openpose"]) and list(order) == list(range(21))
    _, errors = labels.keypoint_order(take, points, view, "084")
    assert errors["openpose"] < 0.01 < 5 < errors["native"]


def test_the_file_of_transforms_agrees_with_global_orient(download):
    root, _ = download
    rotation, angle = labels.deformation_rotation(files.read_take(root, "train", "S2"))
    assert angle < 1e-4 and rotation.shape == (5, 3, 3) and np.isfinite(rotation).all()
    _, angle = labels.deformation_rotation(files.read_take(root, "test", "S1"))
    assert angle is None


def view_with(confidences):
    """Detections of 20 frames of which one was not detected."""
    points = lambda count: np.dstack(
        [np.full((20, count, 2), 500.0), np.resize(confidences, (20, count))]
    )
    head, hand = points(68), points(21)
    head[3], hand[3] = 0.0, 0.0
    boxes = np.ones((20, 4))
    return files.View(head, hand, boxes, boxes)


@pytest.mark.parametrize(
    ("confidences", "problem"),
    [
        (np.linspace(0.4, 1.0, 21), ""),
        (np.array([0.9, 0.95, 0.2, 0.9, 1.0, 0.8]), ""),
        (np.array([0.1, 0.3, 0.6]), "only 33% of the keypoints"),
        (np.array([0.9, 1.2, 0.8]), "goes from 0.8 to 1.2"),
        (np.array([-0.4, 0.9]), "goes from -0.4 to 0.9"),
    ],
)
def test_a_third_column_that_is_no_confidence_does_not_weight_the_losses(confidences, problem):
    view = view_with(confidences)
    usable, found = labels.with_usable_confidences(view)
    assert problem in found and bool(problem) == bool(found)
    if not problem:
        assert usable is view
        return
    for points in (usable.hand_keypoints, usable.head_keypoints):
        np.testing.assert_array_equal(points[3], 0.0)  # still not detected
        np.testing.assert_array_equal(np.delete(points, 3, 0)[..., 2], 1.0)
        np.testing.assert_array_equal(np.delete(points, 3, 0)[..., :2], 500.0)
