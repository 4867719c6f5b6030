"""What the sheets of a training and the pages of a report draw alike."""

import numpy as np
import pytest

from dice_jax.visualization import panels


def test_camera_that_projected_the_keypoints_is_found(rng):
    points, scale, transl = rng.normal(scale=0.1, size=(89, 3)), 531.0, np.array([120.0, 97.0])
    keypoints = np.concatenate([scale * points[:, :2] + transl, rng.uniform(0.1, 1, (89, 1))], -1)
    keypoints[:20] = [np.nan, np.nan, 0.0]  # not detected
    camera = panels.fit_camera(points, keypoints)
    assert camera.scale == pytest.approx(scale, rel=1e-4)
    np.testing.assert_allclose(camera.transl, transl, atol=1e-2)


def test_camera_is_the_weighted_least_squares_one(rng):
    points, keypoints = rng.normal(size=(10, 3)), rng.uniform(0, 1, (10, 3))
    keypoints[:, :2] += 50 * points[:, :2]  # a camera that may be: not mirrored
    camera = panels.fit_camera(points, keypoints)
    root = np.sqrt(keypoints[:, 2])
    columns = [
        np.concatenate([points[:, 0], points[:, 1]]),
        np.repeat([1.0, 0.0], 10),
        np.repeat([0.0, 1.0], 10),
    ]
    weights = np.concatenate([root, root])
    solution = np.linalg.lstsq(
        np.stack(columns, -1) * weights[:, None], keypoints[:, :2].T.ravel() * weights
    )[0]
    np.testing.assert_allclose([camera.scale, *camera.transl], solution, rtol=1e-4)


def test_camera_without_keypoints_shows_the_middle():
    camera = panels.fit_camera(np.ones((89, 3)), np.zeros((89, 3)))
    assert camera.scale > 0 and tuple(camera.transl) == (112, 112)


def test_a_mirrored_fit_and_no_detection_still_give_a_camera(rng):
    points = rng.normal(scale=0.1, size=(8, 3))
    mirrored = np.column_stack([-100 * points[:, :2], np.ones(8)])
    for detected in (mirrored, np.zeros((8, 3))):
        camera = panels.fit_camera(points, detected)
        assert camera.scale > 0 and np.isfinite(camera.transl).all()
