"""Losses of keypoints and heatmaps: definitions, confidences and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from scipy.interpolate import RegularGridInterpolator
from scipy.special import log_softmax

from dice_jax.constants import CROP_SIZE
from dice_jax.losses import keypoints
from dice_jax.models.fine_map import expected_keypoints


def random_detections(rng, shape, low=0.0, high=CROP_SIZE, confidence=(1.0, 1.0)):
    """Keypoints in pixels and their confidences, (*shape, 3)."""
    points = rng.uniform(low, high, (*shape, 2))
    return np.concatenate([points, rng.uniform(*confidence, (*shape, 1))], -1).astype(np.float32)


def test_keypoints_loss_weights_the_two_rough_sets_by_four(rng):
    sets = rng.normal(size=(5, 3, 21, 3)).astype(np.float32)
    regressed, mesh, parametric, target, target_mesh = sets
    absolute = lambda a, b: np.abs(a - b).mean(axis=(1, 2))
    rough = absolute(regressed, target) + absolute(mesh, target_mesh)
    expected = 4 * rough + absolute(parametric, target)
    np.testing.assert_allclose(keypoints.keypoints_loss(*sets), expected, rtol=1e-5)


def test_an_error_of_one_pixel_in_x_and_y_is_one_224th(rng):
    detected = random_detections(rng, (2, 21))
    loss = keypoints.reprojection_loss(detected[..., :2] + 1, detected)
    np.testing.assert_allclose(loss, 1 / 224, rtol=1e-4)


def test_reprojection_is_the_mean_weighted_by_confidence(rng):
    projected = random_detections(rng, (3, 21))[..., :2]
    detected = random_detections(rng, (3, 21), confidence=(0, 1))
    error = np.abs(projected - detected[..., :2]).mean(-1) / 224
    expected = [np.average(e, weights=c) for e, c in zip(error, detected[..., 2])]
    found = keypoints.reprojection_loss(projected, detected)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_undetected_keypoints_have_neither_loss_nor_gradient(rng):
    """The reference supervises with the placeholders of undetected keypoints."""
    projected, detected = random_detections(rng, (1, 21))[..., :2], random_detections(rng, (1, 21))
    missing = range(5, 9)
    detected[:, missing, 2] = 0
    without = lambda points: np.delete(points, missing, axis=1)
    expected = keypoints.reprojection_loss(without(projected), without(detected))
    for placeholder in (0.0, -1.0, np.nan, np.inf):
        detected[:, missing, :2] = placeholder
        loss = lambda p, d: keypoints.reprojection_loss(p, d).sum()
        value, gradient = jax.value_and_grad(loss)(projected, detected)
        np.testing.assert_allclose(value, expected[0], rtol=1e-5)
        np.testing.assert_array_equal(gradient[:, 5:9], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient[:, :5]).min() > 0


def test_reprojection_is_zero_if_nothing_was_detected(rng):
    projected = random_detections(rng, (2, 21))[..., :2]
    loss = keypoints.reprojection_loss(projected, np.zeros((2, 21, 3), np.float32))
    np.testing.assert_array_equal(loss, 0)


def test_a_single_uncertain_detection_does_not_count_like_a_whole_hand():
    projected, detected = np.zeros((1, 21, 2), np.float32), np.zeros((1, 21, 3), np.float32)
    detected[0, 0] = [22.4, 22.4, 0.1]
    loss = keypoints.reprojection_loss(projected, detected)
    np.testing.assert_allclose(loss, 0.1 * 0.1, rtol=1e-5)


def random_heatmaps(rng):
    """Logits (2, 14, 28, 5) and detections, some of them outside the crop."""
    logits = rng.normal(size=(2, 14, 28, 5)).astype(np.float32)
    return logits, random_detections(rng, (2, 5), -20, 244, confidence=(0.2, 1.0))


def test_heatmap_loss_is_the_cross_entropy_with_the_four_cells_around(rng):
    logits, detected = random_heatmaps(rng)
    rows, columns = (np.arange(14) + 0.5) * 16.0, (np.arange(28) + 0.5) * 8.0
    expected = []
    for image, points in zip(logits, detected):
        log_probs = log_softmax(image, axis=(0, 1))
        inside = np.clip(points[:, 1::-1], [rows[0], columns[0]], [rows[-1], columns[-1]])
        # Bilinear interpolation of the cells' values is their mean weighted as in the target.
        entropy = [
            -RegularGridInterpolator((rows, columns), log_probs[..., k])(inside[k])[0]
            for k in range(5)
        ]
        expected.append(np.average(entropy, weights=points[:, 2]) * min(points[:, 2].sum(), 1.0))
    np.testing.assert_allclose(keypoints.heatmap_loss(logits, detected), expected, rtol=1e-4)


def test_the_expected_position_under_the_optimal_heatmap_is_the_keypoint(rng):
    detected = random_detections(rng, (2, 5), 8, 216, confidence=(0.2, 1.0))
    centers = (np.arange(28) + 0.5) * 8.0
    # (image, keypoint, cell, axis)
    weights = np.maximum(1 - np.abs(detected[..., None, :2] - centers[:, None]) / 8.0, 0.0)
    probs = np.einsum("bkw,bkh->bhwk", weights[..., 0], weights[..., 1])
    optimal = np.log(probs + 1e-9).astype(np.float32)
    gradient = jax.grad(lambda x: keypoints.heatmap_loss(x, detected).sum())(optimal)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
    np.testing.assert_allclose(expected_keypoints(optimal), detected[..., :2], atol=1e-2)


def test_heatmap_gradients_equal_finite_differences(rng):
    logits, detected = random_heatmaps(rng)
    loss = lambda x: keypoints.heatmap_loss(x, detected)
    check_grads(loss, (logits,), order=1, modes=["rev"], rtol=2e-2, atol=2e-3)


def test_the_heatmap_of_an_undetected_keypoint_has_no_gradient(rng):
    logits, detected = random_heatmaps(rng)
    detected[:, 2] = [np.nan, np.inf, 0.0]
    gradient = jax.grad(lambda x: keypoints.heatmap_loss(x, detected).sum())(jnp.asarray(logits))
    np.testing.assert_array_equal(gradient[..., 2], 0)
    assert np.isfinite(gradient).all() and np.abs(gradient[..., 0]).max() > 0
