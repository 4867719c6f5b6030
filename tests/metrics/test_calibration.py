"""Calibration errors of probabilities whose truth is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.metrics import contact
from dice_jax.metrics.calibration import calibration_error, reliability


def histogram(probs, truth):
    one = contact.score_histogram(jnp.asarray(probs, jnp.float32)[None], jnp.asarray(truth)[None])
    return np.asarray(one[0], np.float64)


def test_probabilities_that_mean_what_they_say_have_no_error(rng):
    probs = rng.uniform(size=200_000)
    assert calibration_error(histogram(probs, rng.uniform(size=probs.size) < probs)) < 0.01


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_the_error_is_the_mean_gap(rng, factor):
    probs = rng.uniform(size=200_000)
    truth = rng.uniform(size=probs.size) < factor * probs
    expected = (1 - factor) * 0.5
    assert calibration_error(histogram(probs, truth)) == pytest.approx(expected, abs=0.01)


def test_groups_are_those_of_an_independent_count(rng):
    probs = rng.beta(0.4, 2.0, size=5000)
    truth = rng.uniform(size=probs.size) < probs**2
    predicted, observed, share = reliability(histogram(probs, truth), groups=5)
    for i in range(5):
        # Probabilities at the edge of a bin may fall to either side in single precision.
        inside = (probs >= i / 5) & (probs < (i + 1) / 5)
        assert share[i] == pytest.approx(inside.mean(), abs=1e-3)
        assert observed[i] == pytest.approx(truth[inside].mean(), abs=5e-3)
        assert predicted[i] == pytest.approx(probs[inside].mean(), abs=5e-3)


def test_nothing_counted_is_not_a_number():
    assert np.isnan(calibration_error(np.zeros((2, contact.BINS))))
    one = histogram([0.9], [True])
    predicted, observed, share = reliability(one)
    assert np.isnan(predicted[:9]).all() and observed[9] == 1 and share[9] == 1


def test_counts_at_the_threshold_are_those_of_the_samples(rng):
    probs = rng.uniform(size=(3, 400)).astype(np.float32)
    truth = rng.uniform(size=probs.shape) < 0.3
    expected = contact.confusion(jnp.asarray(probs >= contact.THRESHOLD), jnp.asarray(truth))
    found = contact.at_threshold(contact.score_histogram(jnp.asarray(probs), jnp.asarray(truth)))
    for name in ("true_positive", "false_positive", "false_negative", "true_negative"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
