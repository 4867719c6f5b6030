"""Means over labeled samples: exact under any mask, NaN placeholder and number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.losses.masking import masked_mean


def test_mean_is_over_the_samples_with_a_positive_mask(rng):
    values, mask = rng.normal(size=10), np.array([1, 0, 1, 1, 0, 0, 1, 0, 0, 1.0])
    assert masked_mean(values, mask) == pytest.approx(values[mask > 0].mean(), rel=1e-6)


def test_fractional_masks_are_weights(rng):
    values, mask = rng.normal(size=10), rng.uniform(size=10)
    assert masked_mean(values, mask) == pytest.approx(np.average(values, weights=mask), rel=1e-5)


def test_mean_and_gradient_are_zero_if_no_sample_has_a_positive_mask():
    value, gradient = jax.value_and_grad(masked_mean)(jnp.arange(1.0, 5.0), jnp.zeros(4))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_samples_of_mask_zero_may_hold_nan():
    values = jnp.array([1.0, np.nan, 3.0, np.inf])
    value, gradient = jax.value_and_grad(masked_mean)(values, jnp.array([1.0, 0.0, 1.0, 0.0]))
    assert value == 2
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5, 0])


def test_eight_devices_give_the_value_and_the_gradient_of_one(rng):
    """The devices have different numbers of labeled samples, so a mean of means would differ."""
    values = jnp.asarray(rng.normal(size=(8, 4)), jnp.float32)
    mask = jnp.asarray(rng.uniform(size=(8, 4)) < np.linspace(0, 0.9, 8)[:, None], jnp.float32)
    loss = lambda scale, values, mask, axis_name=None: masked_mean(
        jnp.sin(scale * values), mask, axis_name
    )
    expected = jax.value_and_grad(loss)(1.3, values.ravel(), mask.ravel())

    def on_device(values, mask):
        value, gradient = jax.value_and_grad(loss)(1.3, values, mask, "batch")
        return value, jax.lax.pmean(gradient, "batch")

    value, gradient = jax.pmap(on_device, axis_name="batch")(values, mask)
    np.testing.assert_allclose(value, np.full(8, expected[0]), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.full(8, expected[1]), rtol=1e-5)
    mean_of_means = np.mean([masked_mean(jnp.sin(1.3 * v), m) for v, m in zip(values, mask)])
    assert abs(mean_of_means - expected[0]) > 1e-2  # otherwise this test could not fail
