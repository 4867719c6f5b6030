"""L_vert: eq. 7, its levels, and the centered distance."""

import numpy as np
import pytest

from dice_jax.losses import vertices


@pytest.fixture
def meshes(rng):
    make = lambda n: rng.normal(size=(2, n, 3)).astype(np.float32)
    return make(7), make(11), make(7), make(11)


def absolute(a, b):
    return np.abs(a - b).mean(axis=(1, 2))


def test_vertices_loss_is_eq_7(meshes):
    hand, head, target_hand, target_head = meshes
    expected = 3 * absolute(hand, target_hand) + absolute(head, target_head)
    np.testing.assert_allclose(vertices.vertices_loss(*meshes), expected, rtol=1e-5)


def test_the_rough_head_is_compared_with_the_head(meshes):
    """Eq. 7 as printed pairs the rough head with the ground truth of the hand."""
    hand, head, target_hand, target_head = meshes
    loss = lambda target_hand, target_head: vertices.rough_vertices_loss(
        [hand], [head], [target_hand], [target_head]
    )
    np.testing.assert_allclose(loss(hand, head), 0)
    np.testing.assert_allclose(loss(hand, target_head), absolute(head, target_head), rtol=1e-5)
    np.testing.assert_allclose(loss(target_hand, head), 3 * absolute(hand, target_hand), rtol=1e-5)


def test_rough_levels_are_summed_with_their_weight(rng):
    make = lambda n: rng.normal(size=(2, n, 3)).astype(np.float32)
    hand, target_hand = [make(9), make(4)], [make(9), make(4)]
    head, target_head = [make(12), make(8), make(5)], [make(12), make(8), make(5)]
    found = vertices.rough_vertices_loss(
        hand, head, target_hand, target_head, level_weight=0.2, also_centered=True
    )
    center = lambda x: x - x.mean(axis=1, keepdims=True)
    both = lambda a, b: absolute(a, b) + absolute(center(a), center(b))
    expected = 0.2 * (3 * sum(map(both, hand, target_hand)) + sum(map(both, head, target_head)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_centered_l1_ignores_position_but_l1_does_not(meshes):
    hand, _, target, _ = meshes
    shifted = hand + np.array([0.3, -1.0, 2.0], np.float32)
    found, expected = vertices.centered_l1(shifted, target), vertices.centered_l1(hand, target)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (np.abs(vertices.l1(shifted, target) - vertices.l1(hand, target)) > 0.1).all()


def test_a_missing_level_is_an_error(meshes):
    hand, head, target_hand, target_head = meshes
    with pytest.raises(ValueError):
        vertices.rough_vertices_loss([hand, hand], [head], [target_hand], [target_head])
