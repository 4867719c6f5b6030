"""The views shared by validation sheets and reports: the camera fitted to keypoints."""

import numpy as np
import pytest

from dice_jax.visualization import panels


def test_the_camera_that_projected_the_keypoints_is_found(rng):
    points, scale, transl = rng.normal(scale=0.1, size=(89, 3)), 531.0, np.array([120.0, 97.0])
    keypoints = np.concatenate([scale * points[:, :2] + transl, rng.uniform(0.1, 1, (89, 1))], -1)
    keypoints[:20] = [np.nan, np.nan, 0.0]  # not detected
    camera = panels.fit_camera(points, keypoints)
    assert camera.scale == pytest.approx(scale, rel=1e-4)
    np.testing.assert_allclose(camera.transl, transl, atol=1e-2)


def test_the_camera_is_the_weighted_least_squares_solution(rng):
    points, keypoints = rng.normal(size=(10, 3)), rng.uniform(0, 1, (10, 3))
    keypoints[:, :2] += 50 * points[:, :2]  # with a positive scale
    camera = panels.fit_camera(points, keypoints)
    root = np.sqrt(keypoints[:, 2])
    weights = np.concatenate([root, root])
    x_rows, y_rows = np.repeat([1.0, 0.0], 10), np.repeat([0.0, 1.0], 10)
    matrix = np.stack([points[:, :2].T.ravel(), x_rows, y_rows], axis=-1)
    pixels = keypoints[:, :2].T.ravel()
    solution = np.linalg.lstsq(matrix * weights[:, None], pixels * weights)[0]
    np.testing.assert_allclose([camera.scale, *camera.transl], solution, rtol=1e-4)


def test_without_detections_the_camera_shows_the_origin_at_the_center():
    camera = panels.fit_camera(np.ones((89, 3)), np.zeros((89, 3)))
    assert camera.scale > 0 and tuple(camera.transl) == (112, 112)


def test_mirrored_detections_and_none_give_a_positive_scale(rng):
    points = rng.normal(scale=0.1, size=(8, 3))
    mirrored = np.column_stack([-100 * points[:, :2], np.ones(8)])
    for detected in (mirrored, np.zeros((8, 3))):
        camera = panels.fit_camera(points, detected)
        assert camera.scale > 0 and np.isfinite(camera.transl).all()
