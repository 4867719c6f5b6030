"""Keypoints found in the fine map."""

import jax.numpy as jnp
import numpy as np

from dice_jax.models.fine_map import Heatmaps, expected_keypoints


def test_the_expected_keypoints_of_sharp_heatmaps_are_their_peaks(rng):
    features = np.zeros((2, 28, 28, 89), np.float32)
    cells = rng.integers(0, 28, size=(2, 89, 2))  # column and row of each peak
    for image, peaks in zip(features, cells):
        image[peaks[:, 1], peaks[:, 0], np.arange(89)] = 1.0
    variables = {"params": {"scores": {"kernel": 50.0 * jnp.eye(89), "bias": jnp.zeros(89)}}}
    heatmaps = Heatmaps().apply(variables, features)
    np.testing.assert_allclose(expected_keypoints(heatmaps), 8.0 * (cells + 0.5), atol=1e-3)
