"""Reading the image where a mesh lands."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator

from dice_jax.models.aligned import View, sample_bilinear
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
  view = View(features, Camera(jnp.array([400.0]), jnp.array([[100.0, 60.0]])))
  # Row 12, column 20 has its centre at pixel (164, 100); depth does not matter.
  point = jnp.array([[[64 / 400, 40 / 400, 0.3]]])
  np.testing.assert_allclose(view.at(point)[0, 0], features[0, 12, 20], atol=1e-5)


def test_only_the_features_get_a_gradient(rng):
  features = jnp.asarray(rng.normal(size=(1, 28, 28, 2)), jnp.float32)
  view = View(features, Camera(jnp.array([400.0]), jnp.array([[112.0, 112.0]])))
  points = jnp.asarray(rng.uniform(-0.2, 0.2, size=(1, 5, 3)), jnp.float32)
  of_view, of_points = jax.grad(lambda v, p: (v.at(p) ** 2).sum(), argnums=(0, 1))(view, points)
  assert np.abs(of_view.features).max() > 0
  for gradient in (of_points, of_view.camera.scale, of_view.camera.transl):
    np.testing.assert_array_equal(gradient, 0.0)
