import numpy as np
from scipy.spatial.transform import Rotation
from support import metric_oracles

from dice_jax.metrics import keypoints


def test_mpjpe_is_the_mean_distance(rng):
    a, b = rng.normal(size=(2, 3, 89, 3)).astype(np.float32)
    np.testing.assert_allclose(
        keypoints.mpjpe(a, b), np.linalg.norm(a - b, axis=-1).mean(-1), rtol=1e-5
    )


def test_pa_mpjpe_is_zero_after_a_similarity_but_not_after_a_reflection(rng):
    target = rng.normal(scale=0.1, size=(4, 89, 3))
    rotations = Rotation.random(4, random_state=0).as_matrix()
    similar = 1.7 * np.einsum("bij,bnj->bni", rotations, target) + [[0.1, 2.0, -3.0]]
    np.testing.assert_allclose(
        keypoints.pa_mpjpe(np.float32(similar), np.float32(target)), 0, atol=1e-5
    )
    mirrored = np.float32(target * [-1, 1, 1])
    assert np.min(keypoints.pa_mpjpe(mirrored, np.float32(target))) > 0.01


def test_pa_mpjpe_equals_scipy_in_double_precision(rng):
    source, target = rng.normal(scale=0.1, size=(2, 89, 3))
    expected = np.linalg.norm(metric_oracles.align(source, target) - target, axis=-1).mean()
    np.testing.assert_allclose(
        keypoints.pa_mpjpe(np.float32(source), np.float32(target)), expected, rtol=1e-4
    )


def test_one_similarity_aligns_both_parts_together(rng):
    """If hand and head were aligned separately, moving the hand alone would cost nothing."""
    target = rng.normal(scale=0.1, size=(89, 3)).astype(np.float32)
    moved = target.copy()
    moved[:21] += np.float32([0.1, 0, 0])
    assert keypoints.pa_mpjpe(moved, target) > 0.01


def test_keypoints_2d_error_is_weighted_and_ignores_undetected_keypoints(rng):
    detected = np.concatenate(
        [rng.uniform(0, 224, (2, 10, 2)), rng.uniform(size=(2, 10, 1))], -1
    ).astype(np.float32)
    prediction = detected[..., :2] + np.float32([3, 4])
    detected[1, :4] = [np.nan, np.inf, 0]
    total, weight = keypoints.keypoints_2d_error(prediction, detected)
    np.testing.assert_allclose(total / weight, 5, rtol=1e-4)
    np.testing.assert_allclose(weight, detected[..., 2].sum(-1), rtol=1e-5)
