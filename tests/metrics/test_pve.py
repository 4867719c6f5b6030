import numpy as np
from scipy.spatial.transform import Rotation
from support import metric_oracles

from dice_jax.metrics import pve


def test_pve_is_the_mean_distance_over_all_vertices_of_both_parts(rng):
    hand, target_hand = rng.normal(size=(2, 3, 778, 3)).astype(np.float32)
    head, target_head = rng.normal(size=(2, 3, 5023, 3)).astype(np.float32)
    lengths = [
        np.linalg.norm(a - b, axis=-1) for a, b in ((hand, target_hand), (head, target_head))
    ]
    expected = (lengths[0].sum(-1) + lengths[1].sum(-1)) / 5801
    np.testing.assert_allclose(pve.pve(hand, head, target_hand, target_head), expected, rtol=1e-5)


def test_a_shift_of_the_hand_counts_with_the_hand_s_share(rng):
    hand, head = (
        rng.normal(size=(1, 778, 3)).astype(np.float32),
        rng.normal(size=(1, 5023, 3)).astype(np.float32),
    )
    shifted = hand + np.float32([0.003, 0.004, 0])
    np.testing.assert_allclose(pve.pve(shifted, head, hand, head), 0.005 * 778 / 5801, rtol=1e-3)


def test_deformation_error_over_all_and_over_moved_vertices():
    target = np.zeros((1, 4, 3), np.float32)
    target[0, :, 0] = [0.0, 0.004, 0.006, 0.02]
    error, moved_error, moved = pve.deformation_error(np.zeros_like(target), target)
    np.testing.assert_allclose(error, [0.03 / 4], rtol=1e-5)
    np.testing.assert_allclose(moved_error, [0.026], rtol=1e-5)
    np.testing.assert_array_equal(moved, [2])


def test_pa_pve_equals_the_similarity_found_by_scipy(rng):
    source, target = rng.normal(scale=0.1, size=(2, 778, 3))
    expected = np.linalg.norm(metric_oracles.align(source, target) - target, axis=-1).mean()
    np.testing.assert_allclose(
        pve.pa_pve(np.float32(source), np.float32(target)), expected, rtol=1e-4
    )


def test_pa_pve_forgives_a_similarity_of_the_whole_and_not_of_a_part(rng):
    target = rng.normal(scale=0.1, size=(500, 3))
    similar = 0.8 * target @ Rotation.random(random_state=0).as_matrix().T + [0.2, 0, -1]
    np.testing.assert_allclose(pve.pa_pve(np.float32(similar), np.float32(target)), 0, atol=1e-6)
    target[:100] += [0.05, 0, 0]
    assert pve.pa_pve(np.float32(similar), np.float32(target)) > 0.005
    np.testing.assert_allclose(
        pve.pa_pve(np.float32(similar[:100]), np.float32(target[:100])), 0, atol=1e-6
    )
