"""Keypoints found in the fine map."""

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.models.fine_map import Heatmaps, expected_keypoints, keypoint_sigma

CELL = 8.0  # pixels


def test_the_expected_keypoints_of_sharp_heatmaps_are_their_peaks(rng):
    features = np.zeros((2, 28, 28, 89), np.float32)
    cells = rng.integers(0, 28, size=(2, 89, 2))  # column and row of each peak
    for image, peaks in zip(features, cells):
        image[peaks[:, 1], peaks[:, 0], np.arange(89)] = 1.0
    variables = {"params": {"scores": {"kernel": 50.0 * jnp.eye(89), "bias": jnp.zeros(89)}}}
    heatmaps = Heatmaps().apply(variables, features)
    np.testing.assert_allclose(expected_keypoints(heatmaps), CELL * (cells + 0.5), atol=1e-3)


def test_sigma_is_the_deviation_of_points_drawn_from_the_heatmap(rng):
    """Uniform within each cell; the mean of the variances along both axes."""
    heatmaps = rng.normal(scale=2.0, size=(28, 28, 3)).astype(np.float32)
    sigma = np.asarray(keypoint_sigma(heatmaps))
    for k, found in enumerate(sigma):
        shares = np.exp(heatmaps[..., k].astype(np.float64)).ravel()
        cells = rng.choice(28 * 28, size=200_000, p=shares / shares.sum())
        points = CELL * (np.stack([cells % 28, cells // 28]) + rng.random((2, len(cells))))
        assert found == pytest.approx(np.sqrt(points.var(axis=1).mean()), rel=0.01)


def test_sigma_of_one_cell_is_that_of_a_uniform_distribution_and_grows_with_doubt():
    sharp = np.full((28, 28, 2), -100.0, np.float32)
    sharp[5, 9] = 0.0
    np.testing.assert_allclose(keypoint_sigma(sharp), CELL / np.sqrt(12), rtol=1e-3)
    flat = np.asarray(keypoint_sigma(np.zeros((28, 28, 2), np.float32)))
    np.testing.assert_allclose(flat, 224 / np.sqrt(12), rtol=1e-5)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_sigma_keeps_leading_dimensions(rng, leading):
    heatmaps = rng.normal(size=(*leading, 28, 28, 4)).astype(np.float32)
    sigma = np.asarray(keypoint_sigma(heatmaps))
    assert sigma.shape == (*leading, 4)
    flat = [keypoint_sigma(one) for one in heatmaps.reshape(-1, 28, 28, 4)]
    np.testing.assert_allclose(sigma.reshape(-1, 4), np.stack(flat), rtol=1e-5)
