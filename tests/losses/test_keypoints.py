import jax
import jax.numpy as jnp
import numpy as np

from dice_jax.losses import keypoints


def test_keypoints_loss_weights_the_rough_sets_by_four(rng):
  regressed, mesh, parametric, target, target_mesh = rng.normal(size=(5, 3, 21, 3)).astype(np.float32)
  absolute = lambda a, b: np.abs(a - b).mean(axis=(1, 2))
  expected = 4 * (absolute(regressed, target) + absolute(mesh, target_mesh)) + absolute(parametric, target)
  np.testing.assert_allclose(
    keypoints.keypoints_loss(regressed, mesh, parametric, target, target_mesh), expected, rtol=1e-5)


def test_one_pixel_in_x_and_y_is_one_224th(rng):
  detected = np.concatenate([rng.uniform(0, 224, (2, 21, 2)), np.ones((2, 21, 1))], -1).astype(np.float32)
  loss = keypoints.reprojection_loss(detected[..., :2] + 1, detected)
  np.testing.assert_allclose(loss, 1 / 224, rtol=1e-4)


def test_reprojection_is_the_confidence_weighted_mean(rng):
  projected = rng.uniform(0, 224, (3, 21, 2)).astype(np.float32)
  detected = np.concatenate([rng.uniform(0, 224, (3, 21, 2)), rng.uniform(size=(3, 21, 1))], -1).astype(np.float32)
  error = np.abs(projected - detected[..., :2]).mean(-1) / 224
  expected = [np.average(e, weights=c) for e, c in zip(error, detected[..., 2])]
  np.testing.assert_allclose(keypoints.reprojection_loss(projected, detected), expected, rtol=1e-5)


def test_undetected_keypoints_neither_count_nor_teach(rng):
  """Trap 9: the placeholder of an undetected keypoint must not supervise, whatever it is."""
  projected = jnp.asarray(rng.uniform(0, 224, (1, 21, 2)), jnp.float32)
  detected = np.concatenate([rng.uniform(0, 224, (1, 21, 2)), np.ones((1, 21, 1))], -1).astype(np.float32)
  detected[:, 5:9, 2] = 0
  expected = keypoints.reprojection_loss(np.delete(projected, range(5, 9), 1), np.delete(detected, range(5, 9), 1))
  for placeholder in (0.0, -1.0, np.nan, np.inf):
    detected[:, 5:9, :2] = placeholder
    value, gradient = jax.value_and_grad(lambda p, d: keypoints.reprojection_loss(p, d).sum())(projected, detected)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_array_equal(gradient[:, 5:9], 0)
    assert np.isfinite(gradient).all() and np.abs(gradient[:, :5]).min() > 0


def test_nothing_detected_costs_nothing(rng):
  projected = rng.uniform(0, 224, (2, 21, 2)).astype(np.float32)
  np.testing.assert_array_equal(keypoints.reprojection_loss(projected, np.zeros((2, 21, 3), np.float32)), 0)


def test_one_faint_detection_does_not_stand_for_the_whole_hand():
  projected, detected = np.zeros((1, 21, 2), np.float32), np.zeros((1, 21, 3), np.float32)
  detected[0, 0] = [22.4, 22.4, 0.1]
  np.testing.assert_allclose(keypoints.reprojection_loss(projected, detected), 0.1 * 0.1, rtol=1e-5)
