"""Reading the image where a mesh lands."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.distance import cdist

from dice_jax.models.mesh_aligned import Heatmaps, View, expected_keypoints, sample_bilinear
from dice_jax.structs import Camera


def test_sampling_agrees_with_scipy_inside_and_beyond_the_map(rng):
    features = rng.normal(size=(2, 14, 28, 3)).astype(np.float32)
    pixels = rng.uniform(-30.0, 254.0, size=(2, 200, 2)).astype(np.float32)
    rows, columns = (np.arange(14) + 0.5) * 16.0, (np.arange(28) + 0.5) * 8.0
    sampled = np.asarray(sample_bilinear(features, pixels))
    for image, points, result in zip(features, pixels, sampled):
        oracle = RegularGridInterpolator((rows, columns), image)
        inside = np.clip(points[:, ::-1], [rows[0], columns[0]], [rows[-1], columns[-1]])
        np.testing.assert_allclose(result, oracle(inside), atol=1e-4)


def test_a_view_reads_what_the_camera_sees_at_a_point(rng):
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 2)), jnp.float32)
    view = View(
        features, jnp.zeros((1, 89, 2)), Camera(jnp.array([400.0]), jnp.array([[100.0, 60.0]]))
    )
    # Row 12, column 20 has its center at pixel (164, 100); depth does not matter.
    point = jnp.array([[[64 / 400, 40 / 400, 0.3]]])
    np.testing.assert_allclose(view.at(point)[0, 0], features[0, 12, 20], atol=1e-5)


def test_only_the_features_get_a_gradient(rng):
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 2)), jnp.float32)
    keypoints = jnp.asarray(rng.uniform(50.0, 170.0, size=(1, 89, 2)), jnp.float32)
    view = View(features, keypoints, Camera(jnp.array([400.0]), jnp.array([[112.0, 112.0]])))
    points = jnp.asarray(rng.uniform(-0.2, 0.2, size=(1, 89, 3)), jnp.float32)

    def everything(view, points):
        return sum(
            (x**2).sum() for x in (view.at(points), view.missed(points), view.near_hand(points))
        )

    of_view, of_points = jax.grad(everything, argnums=(0, 1))(view, points)
    assert np.abs(of_view.features).max() > 0
    for gradient in (of_points, of_view.keypoints, of_view.camera.scale, of_view.camera.transl):
        np.testing.assert_array_equal(gradient, 0.0)


def test_points_know_what_they_missed_and_how_near_the_hand_they_land(rng):
    keypoints = rng.uniform(50.0, 170.0, size=(1, 89, 2)).astype(np.float32)
    view = View(
        jnp.zeros((1, 28, 28, 1)),
        jnp.asarray(keypoints),
        Camera(jnp.array([500.0]), jnp.array([[112.0, 90.0]])),
    )
    points = rng.uniform(-0.1, 0.1, size=(1, 89, 3)).astype(np.float32)
    landed = 500.0 * points[..., :2] + [112.0, 90.0]
    np.testing.assert_allclose(view.missed(points), keypoints - landed, atol=1e-3)
    distances = cdist(landed[0], keypoints[0, :21])
    expected = np.exp(-np.concatenate([distances / 8.0, distances / 24.0], axis=1))
    np.testing.assert_allclose(view.near_hand(points)[0], expected, atol=1e-5)


def test_heatmaps_find_a_peak(rng):
    features = np.zeros((2, 28, 28, 89), np.float32)
    cells = rng.integers(0, 28, size=(2, 89, 2))  # column and row of each peak
    for image, peaks in zip(features, cells):
        image[peaks[:, 1], peaks[:, 0], np.arange(89)] = 1.0
    variables = {"params": {"scores": {"kernel": 50.0 * jnp.eye(89), "bias": jnp.zeros(89)}}}
    heatmaps = Heatmaps().apply(variables, features)
    np.testing.assert_allclose(expected_keypoints(heatmaps), 8.0 * (cells + 0.5), atol=1e-3)
