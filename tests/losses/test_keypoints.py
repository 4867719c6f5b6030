import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from scipy.interpolate import RegularGridInterpolator
from scipy.special import log_softmax

from dice_jax.losses import keypoints
from dice_jax.models.mesh_aligned import expected_keypoints


def test_keypoints_loss_weights_the_rough_sets_by_four(rng):
    regressed, mesh, parametric, target, target_mesh = rng.normal(size=(5, 3, 21, 3)).astype(
        np.float32
    )
    absolute = lambda a, b: np.abs(a - b).mean(axis=(1, 2))
    expected = 4 * (absolute(regressed, target) + absolute(mesh, target_mesh)) + absolute(
        parametric, target
    )
    np.testing.assert_allclose(
        keypoints.keypoints_loss(regressed, mesh, parametric, target, target_mesh),
        expected,
        rtol=1e-5,
    )


def test_one_pixel_in_x_and_y_is_one_224th(rng):
    detected = np.concatenate([rng.uniform(0, 224, (2, 21, 2)), np.ones((2, 21, 1))], -1).astype(
        np.float32
    )
    loss = keypoints.reprojection_loss(detected[..., :2] + 1, detected)
    np.testing.assert_allclose(loss, 1 / 224, rtol=1e-4)


def test_reprojection_is_the_confidence_weighted_mean(rng):
    projected = rng.uniform(0, 224, (3, 21, 2)).astype(np.float32)
    detected = np.concatenate(
        [rng.uniform(0, 224, (3, 21, 2)), rng.uniform(size=(3, 21, 1))], -1
    ).astype(np.float32)
    error = np.abs(projected - detected[..., :2]).mean(-1) / 224
    expected = [np.average(e, weights=c) for e, c in zip(error, detected[..., 2])]
    np.testing.assert_allclose(
        keypoints.reprojection_loss(projected, detected), expected, rtol=1e-5
    )


def test_undetected_keypoints_neither_count_nor_teach(rng):
    """Trap 9: the placeholder of an undetected keypoint must not supervise, whatever it is."""
    projected = jnp.asarray(rng.uniform(0, 224, (1, 21, 2)), jnp.float32)
    detected = np.concatenate([rng.uniform(0, 224, (1, 21, 2)), np.ones((1, 21, 1))], -1).astype(
        np.float32
    )
    detected[:, 5:9, 2] = 0
    expected = keypoints.reprojection_loss(
        np.delete(projected, range(5, 9), 1), np.delete(detected, range(5, 9), 1)
    )
    for placeholder in (0.0, -1.0, np.nan, np.inf):
        detected[:, 5:9, :2] = placeholder
        value, gradient = jax.value_and_grad(lambda p, d: keypoints.reprojection_loss(p, d).sum())(
            projected, detected
        )
        np.testing.assert_allclose(value, expected[0], rtol=1e-5)
        np.testing.assert_array_equal(gradient[:, 5:9], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient[:, :5]).min() > 0


def test_nothing_detected_costs_nothing(rng):
    projected = rng.uniform(0, 224, (2, 21, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        keypoints.reprojection_loss(projected, np.zeros((2, 21, 3), np.float32)), 0
    )


def test_one_faint_detection_does_not_stand_for_the_whole_hand():
    projected, detected = np.zeros((1, 21, 2), np.float32), np.zeros((1, 21, 3), np.float32)
    detected[0, 0] = [22.4, 22.4, 0.1]
    np.testing.assert_allclose(
        keypoints.reprojection_loss(projected, detected), 0.1 * 0.1, rtol=1e-5
    )


def random_heatmaps(rng):
    logits = rng.normal(size=(2, 14, 28, 5)).astype(np.float32)
    detected = np.concatenate(
        [rng.uniform(-20, 244, (2, 5, 2)), rng.uniform(0.2, 1.0, (2, 5, 1))], -1
    )
    return logits, detected.astype(np.float32)


def test_heatmap_loss_is_the_cross_entropy_of_the_four_cells_around(rng):
    logits, detected = random_heatmaps(rng)
    expected = []
    for image, points in zip(logits, detected):
        log_shares = log_softmax(image, axis=(0, 1))
        cells = (np.arange(14) + 0.5) * 16.0, (np.arange(28) + 0.5) * 8.0
        inside = np.clip(points[:, 1::-1], [cells[0][0], cells[1][0]], [cells[0][-1], cells[1][-1]])
        # What bilinear interpolation reads at a point is its cells' values by their shares.
        entropy = [
            -RegularGridInterpolator(cells, log_shares[..., k])(inside[k])[0] for k in range(5)
        ]
        expected.append(np.average(entropy, weights=points[:, 2]) * min(points[:, 2].sum(), 1.0))
    np.testing.assert_allclose(keypoints.heatmap_loss(logits, detected), expected, rtol=1e-4)


def test_the_best_heatmap_has_its_mean_at_the_keypoint(rng):
    _, detected = random_heatmaps(rng)
    detected[..., :2] = rng.uniform(8, 216, (2, 5, 2))
    places = (np.arange(28) + 0.5) * 8.0
    shares = np.maximum(
        1 - np.abs(detected[..., None, :2] - places[:, None]) / 8.0, 0.0
    )  # image, keypoint, cell, axis
    best = np.log(np.einsum("bkw,bkh->bhwk", shares[..., 0], shares[..., 1]) + 1e-9).astype(
        np.float32
    )
    np.testing.assert_allclose(
        jax.grad(lambda x: keypoints.heatmap_loss(x, detected).sum())(best), 0, atol=1e-5
    )
    np.testing.assert_allclose(expected_keypoints(best), detected[..., :2], atol=1e-2)


def test_heatmap_gradients_agree_with_finite_differences(rng):
    logits, detected = random_heatmaps(rng)
    check_grads(
        lambda x: keypoints.heatmap_loss(x, detected),
        (logits,),
        order=1,
        modes=["rev"],
        rtol=2e-2,
        atol=2e-3,
    )


def test_what_nobody_detected_teaches_no_heatmap(rng):
    logits, detected = random_heatmaps(rng)
    detected[:, 2] = [np.nan, np.inf, 0.0]
    gradient = jax.grad(lambda x: keypoints.heatmap_loss(x, detected).sum())(jnp.asarray(logits))
    np.testing.assert_array_equal(gradient[..., 2], 0)
    assert np.isfinite(gradient).all() and np.abs(gradient[..., 0]).max() > 0
