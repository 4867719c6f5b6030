import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.metrics import keypoints


def test_mpjpe_is_the_mean_distance(rng):
    a, b = rng.normal(size=(2, 3, 89, 3)).astype(np.float32)
    np.testing.assert_allclose(
        keypoints.mpjpe(a, b), np.linalg.norm(a - b, axis=-1).mean(-1), rtol=1e-5
    )


def test_pa_mpjpe_forgives_a_similarity_and_nothing_else(rng):
    target = rng.normal(scale=0.1, size=(4, 89, 3))
    rotations = Rotation.random(4, random_state=0).as_matrix()
    similar = 1.7 * np.einsum("bij,bnj->bni", rotations, target) + [[0.1, 2.0, -3.0]]
    np.testing.assert_allclose(
        keypoints.pa_mpjpe(np.float32(similar), np.float32(target)), 0, atol=1e-5
    )
    mirrored = np.float32(target * [-1, 1, 1])
    assert np.min(keypoints.pa_mpjpe(mirrored, np.float32(target))) > 0.01


def test_pa_mpjpe_equals_the_similarity_found_by_umeyama_in_double_precision(rng):
    source, target = rng.normal(scale=0.1, size=(2, 89, 3))
    a, b = source - source.mean(0), target - target.mean(0)
    rotation, _ = Rotation.align_vectors(b, a)
    turned = rotation.apply(a)
    scale = (turned * b).sum() / (a**2).sum()
    expected = np.linalg.norm(scale * turned - b, axis=-1).mean()
    np.testing.assert_allclose(
        keypoints.pa_mpjpe(np.float32(source), np.float32(target)), expected, rtol=1e-4
    )


def test_one_similarity_fits_both_parts_together(rng):
    """Were hand and head fitted apart, moving the hand alone would be free."""
    target = rng.normal(scale=0.1, size=(89, 3)).astype(np.float32)
    moved = target.copy()
    moved[:21] += np.float32([0.1, 0, 0])
    assert keypoints.pa_mpjpe(moved, target) > 0.01


def test_keypoints_2d_error_is_weighted_and_blind_to_placeholders(rng):
    detected = np.concatenate(
        [rng.uniform(0, 224, (2, 10, 2)), rng.uniform(size=(2, 10, 1))], -1
    ).astype(np.float32)
    prediction = detected[..., :2] + np.float32([3, 4])
    detected[1, :4] = [np.nan, np.inf, 0]
    total, weight = keypoints.keypoints_2d_error(prediction, detected)
    np.testing.assert_allclose(total / weight, 5, rtol=1e-4)
    np.testing.assert_allclose(weight, detected[..., 2].sum(-1), rtol=1e-5)
