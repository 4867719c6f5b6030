"""The two equations of L_deform and the prior: definitions and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from dice_jax.losses import deformation


def test_deviation_is_the_paper_s_sum_divided_by_the_number_of_vertices(rng):
    predicted, target = rng.normal(scale=0.01, size=(2, 3, 50, 3)).astype(np.float32)
    lengths = np.linalg.norm(target, axis=-1)
    squares = np.linalg.norm(target - predicted, axis=-1) ** 2
    expected = ((1 + 5000 * lengths) * squares).sum(-1) / 50
    np.testing.assert_allclose(deformation.deviation_loss(predicted, target), expected, rtol=1e-4)


def test_deviation_weighs_a_displaced_vertex_more():
    target = np.zeros((1, 2, 3), np.float32)
    target[0, 1, 0] = 0.01
    gradient = jax.grad(lambda d: deformation.deviation_loss(d, target)[0])(target + 0.001)[0]
    np.testing.assert_allclose(gradient[1] / gradient[0], 51, rtol=1e-3)


def test_only_deformations_beyond_three_centimeters_are_penalized(rng):
    directions = rng.normal(size=(1, 6, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lengths = np.array([0.0, 0.01, 0.0299, 0.0301, 0.05, 1.0])
    deformations = (directions * lengths[:, None]).astype(np.float32)
    np.testing.assert_allclose(
        deformation.large_deformation_loss(deformations), [lengths[3:].sum() / 6], rtol=1e-5
    )
    loss = lambda d: deformation.large_deformation_loss(d)[0]
    gradient = jax.grad(loss)(jnp.asarray(deformations))
    np.testing.assert_array_equal(gradient[0, :3], 0)
    np.testing.assert_allclose(gradient[0, 3:], directions[0, 3:] / 6, rtol=1e-4)


def test_the_released_code_sums_absolute_coordinates(rng):
    deformations = rng.normal(size=(2, 6, 3)).astype(np.float32)
    expected = np.abs(deformations).sum(-1).mean(-1)
    for loss in (deformation.large_deformation_loss, deformation.deformation_prior):
        np.testing.assert_allclose(loss(deformations, l1=True), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["large_deformation_loss", "deformation_prior"])
def test_lengths_do_not_depend_on_the_axes(rng, loss):
    """The camera's axes are arbitrary: a rotated deformation is as long."""
    loss = getattr(deformation, loss)
    deformations = rng.uniform(0.04, 0.06, size=(2, 40, 3)).astype(np.float32)
    rotated = deformations @ Rotation.random(random_state=0).as_matrix().T.astype(np.float32)
    np.testing.assert_allclose(loss(rotated), loss(deformations), rtol=1e-4)
    assert np.abs(loss(rotated, l1=True) / loss(deformations, l1=True) - 1).min() > 1e-2


def test_gradients_match_finite_differences_and_are_finite_at_zero(rng):
    predicted, target = rng.normal(size=(2, 2, 5, 3))
    target = jnp.asarray(target)
    for loss in (
        lambda d: deformation.deviation_loss(d, target).sum() / 1e4,
        lambda d: deformation.deformation_prior(d).sum(),
    ):
        check_grads(loss, (jnp.asarray(predicted),), 1, atol=1e-2, rtol=1e-2)
    zero = jnp.zeros((1, 5, 3))
    for loss in (
        lambda d: deformation.deviation_loss(d, zero),
        deformation.large_deformation_loss,
        deformation.deformation_prior,
    ):
        value, gradient = jax.value_and_grad(lambda d, loss=loss: loss(d).sum())(zero)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_prior_is_the_mean_length(rng):
    d = rng.normal(size=(3, 20, 3)).astype(np.float32)
    expected = np.linalg.norm(d, axis=-1).mean(-1)
    np.testing.assert_allclose(deformation.deformation_prior(d), expected, rtol=1e-5)
