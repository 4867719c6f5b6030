"""Sampling the image where a mesh projects to."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.distance import cdist

from dice_jax.models.mesh_aligned import MeshAlignedFeatures, sample_bilinear
from dice_jax.structs import Camera


def camera(scale, *transl):
    return Camera(jnp.array([scale]), jnp.array([transl]))


def test_sampling_agrees_with_scipy_inside_and_outside_of_the_map(rng):
    features = rng.normal(size=(2, 14, 28, 3)).astype(np.float32)
    pixels = rng.uniform(-30.0, 254.0, size=(2, 200, 2)).astype(np.float32)
    rows, columns = (np.arange(14) + 0.5) * 16.0, (np.arange(28) + 0.5) * 8.0
    sampled = np.asarray(sample_bilinear(features, pixels))
    for image, points, result in zip(features, pixels, sampled):
        interpolate = RegularGridInterpolator((rows, columns), image)
        inside = np.clip(points[:, ::-1], [rows[0], columns[0]], [rows[-1], columns[-1]])
        np.testing.assert_allclose(result, interpolate(inside), atol=1e-4)


def test_features_are_sampled_where_the_camera_projects_a_point_to(rng):
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 2)), jnp.float32)
    image = MeshAlignedFeatures(features, jnp.zeros((1, 89, 2)), camera(400.0, 100.0, 60.0))
    # Row 12, column 20 has its center at pixel (164, 100); depth does not matter.
    point = jnp.array([[[64 / 400, 40 / 400, 0.3]]])
    np.testing.assert_allclose(image.sample(point)[0, 0], features[0, 12, 20], atol=1e-5)


def test_only_the_features_get_a_gradient(rng):
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 2)), jnp.float32)
    keypoints = jnp.asarray(rng.uniform(50.0, 170.0, size=(1, 89, 2)), jnp.float32)
    image = MeshAlignedFeatures(features, keypoints, camera(400.0, 112.0, 112.0))
    points = jnp.asarray(rng.uniform(-0.2, 0.2, size=(1, 89, 3)), jnp.float32)

    def sum_of_squares(image, points):
        outputs = image.sample(points), image.reprojection_offset(points)
        return sum((x**2).sum() for x in (*outputs, image.proximity_to_hand(points)))

    gradient, of_points = jax.grad(sum_of_squares, argnums=(0, 1))(image, points)
    assert np.abs(gradient.features).max() > 0
    for zero in (of_points, gradient.keypoints, gradient.camera.scale, gradient.camera.transl):
        np.testing.assert_array_equal(zero, 0.0)


def test_offsets_and_proximities_are_distances_in_the_image(rng):
    keypoints = rng.uniform(50.0, 170.0, size=(1, 89, 2)).astype(np.float32)
    image = MeshAlignedFeatures(
        jnp.zeros((1, 28, 28, 1)), jnp.asarray(keypoints), camera(500.0, 112.0, 90.0)
    )
    points = rng.uniform(-0.1, 0.1, size=(1, 89, 3)).astype(np.float32)
    pixels = 500.0 * points[..., :2] + [112.0, 90.0]
    np.testing.assert_allclose(image.reprojection_offset(points), keypoints - pixels, atol=1e-3)
    distances = cdist(pixels[0], keypoints[0, :21])
    expected = np.exp(-np.concatenate([distances / 8.0, distances / 24.0], axis=1))
    np.testing.assert_allclose(image.proximity_to_hand(points)[0], expected, atol=1e-5)
