import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from dice_jax.losses import deformation


def test_deviation_is_the_paper_s_sum_per_vertex(rng):
    predicted, target = rng.normal(scale=0.01, size=(2, 3, 50, 3)).astype(np.float32)
    lengths = np.linalg.norm(target, axis=-1)
    expected = ((1 + 5000 * lengths) * np.linalg.norm(target - predicted, axis=-1) ** 2).sum(
        -1
    ) / 50
    np.testing.assert_allclose(deformation.deviation_loss(predicted, target), expected, rtol=1e-4)


def test_deviation_at_a_moved_vertex_counts_more():
    target = np.zeros((1, 2, 3), np.float32)
    target[0, 1, 0] = 0.01
    gradient = jax.grad(lambda d: deformation.deviation_loss(d, target)[0])(target + 0.001)[0]
    np.testing.assert_allclose(gradient[1] / gradient[0], 51, rtol=1e-3)


def test_large_deformations_alone_are_penalized(rng):
    directions = rng.normal(size=(1, 6, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lengths = np.array([0.0, 0.01, 0.0299, 0.0301, 0.05, 1.0])
    deformations = (directions * lengths[:, None]).astype(np.float32)
    expected = np.abs(deformations[0, 3:]).sum() / 6
    np.testing.assert_allclose(
        deformation.large_deformation_loss(deformations), [expected], rtol=1e-5
    )
    gradient = jax.grad(lambda d: deformation.large_deformation_loss(d)[0])(
        jnp.asarray(deformations)
    )
    np.testing.assert_array_equal(gradient[0, :3], 0)
    np.testing.assert_allclose(gradient[0, 3:], np.sign(deformations[0, 3:]) / 6, rtol=1e-5)


def test_gradients_match_finite_differences_and_are_finite_at_zero(rng):
    predicted, target = rng.normal(size=(2, 2, 5, 3))
    check_grads(
        lambda d: deformation.deviation_loss(d, target).sum() / 1e4,
        (jnp.asarray(predicted),),
        1,
        atol=1e-2,
        rtol=1e-2,
    )
    check_grads(
        lambda d: deformation.deformation_prior(d).sum(),
        (jnp.asarray(predicted),),
        1,
        atol=1e-2,
        rtol=1e-2,
    )
    zero = jnp.zeros((1, 5, 3))
    for loss in (lambda d: deformation.deviation_loss(d, zero), deformation.large_deformation_loss):
        value, gradient = jax.value_and_grad(lambda d, loss=loss: loss(d).sum())(zero)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_prior_is_the_mean_length_in_l1(rng):
    d = rng.normal(size=(3, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(
        deformation.deformation_prior(d), np.abs(d).sum(-1).mean(-1), rtol=1e-5
    )
