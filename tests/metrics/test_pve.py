import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import metric_oracles

from dice_jax.metrics import pve


def test_pve_is_the_mean_distance_over_all_vertices_of_both_parts(rng):
    hand, target_hand = rng.normal(size=(2, 3, 778, 3)).astype(np.float32)
    head, target_head = rng.normal(size=(2, 3, 5023, 3)).astype(np.float32)
    total = lambda a, b: np.linalg.norm(a - b, axis=-1).sum(-1)
    expected = (total(hand, target_hand) + total(head, target_head)) / 5801
    np.testing.assert_allclose(pve.pve(hand, head, target_hand, target_head), expected, rtol=1e-5)


def test_a_shift_of_the_hand_counts_by_its_share_of_the_vertices(rng):
    hand = rng.normal(size=(1, 778, 3)).astype(np.float32)
    head = rng.normal(size=(1, 5023, 3)).astype(np.float32)
    shifted = hand + np.float32([0.003, 0.004, 0])
    np.testing.assert_allclose(pve.pve(shifted, head, hand, head), 0.005 * 778 / 5801, rtol=1e-3)


def test_deformation_error_over_all_and_over_moved_vertices():
    target = np.zeros((1, 4, 3), np.float32)
    target[0, :, 0] = [0.0, 0.004, 0.006, 0.02]
    error, moved_error, moved = pve.deformation_error(np.zeros_like(target), target)
    np.testing.assert_allclose(error, [0.03 / 4], rtol=1e-5)
    np.testing.assert_allclose(moved_error, [0.026], rtol=1e-5)
    np.testing.assert_array_equal(moved, [2])


def test_deformations_are_compared_by_euclidean_distance():
    """An L1 distance would give 7 mm."""
    target = np.float32([[[0.006, 0, 0], [0, 0, 0]]])
    error, moved_error, moved = pve.deformation_error(
        target + np.float32([[[3e-3, 0, 4e-3]]]), target
    )
    assert float(error[0]) == pytest.approx(0.005)
    assert float(moved_error[0]) == pytest.approx(0.005)
    assert moved[0] == 1


def test_pa_pve_equals_scipy_in_double_precision(rng):
    source, target = rng.normal(scale=0.1, size=(2, 778, 3))
    expected = np.linalg.norm(metric_oracles.align(source, target) - target, axis=-1).mean()
    np.testing.assert_allclose(
        pve.pa_pve(np.float32(source), np.float32(target)), expected, rtol=1e-4
    )


def test_pa_pve_is_zero_after_a_similarity_of_all_vertices_but_not_of_a_part(rng):
    target = rng.normal(scale=0.1, size=(500, 3))
    similar = 0.8 * target @ Rotation.random(random_state=0).as_matrix().T + [0.2, 0, -1]
    np.testing.assert_allclose(pve.pa_pve(np.float32(similar), np.float32(target)), 0, atol=1e-6)
    target[:100] += [0.05, 0, 0]
    assert pve.pa_pve(np.float32(similar), np.float32(target)) > 0.005
    np.testing.assert_allclose(
        pve.pa_pve(np.float32(similar[:100]), np.float32(target[:100])), 0, atol=1e-6
    )
