"""Epochs and shares as updates."""

import jax
import pytest

from dice_jax.configs import default, full
from dice_jax.errors import UserError
from dice_jax.training import run_length


def resolved(samples=1000, **fields):
    config = default.get_config()
    config.update(fields)
    return run_length.resolve(config, samples)


@pytest.mark.parametrize(("epochs", "samples", "batch"), [(1, 1000, 10), (2.5, 99, 16), (40, 7, 4)])
def test_a_run_of_epochs_sees_every_sample_that_often(epochs, samples, batch):
    steps = resolved(samples, epochs=float(epochs), total_steps=0, batch_size=batch).total_steps
    assert 0 <= steps * batch - epochs * samples < batch


def test_a_number_of_steps_wins_over_epochs():
    assert resolved(epochs=40.0, total_steps=3).total_steps == 3
    with pytest.raises(UserError, match="total_steps or epochs"):
        resolved(total_steps=0)


def test_burn_in_and_validation_are_shares_of_the_run_where_their_steps_are_negative():
    shares = {"burn_in_share": 0.05, "validate_share": 0.025, "total_steps": 400}
    made = resolved(burn_in_steps=-1, validate_every=-1, **shares)
    assert (made.burn_in_steps, made.validate_every) == (20, 10)
    made = resolved(burn_in_steps=0, validate_every=7, **shares)
    assert (made.burn_in_steps, made.validate_every) == (0, 7)


def test_the_batch_is_of_the_run_or_of_each_device():
    devices = jax.device_count()
    assert devices > 1
    assert resolved(batch_size=16).batch_size == 16
    made = resolved(batch_size=16, batch_size_per="device", total_steps=0, epochs=1.0)
    assert made.batch_size == 16 * devices
    assert made.total_steps == -(-1000 // (16 * devices))
    assert run_length.resolve(made, 1000) == made  # the saved configuration means the same


def test_the_paper_s_run_does_not_depend_on_the_size_of_the_data():
    """40 epochs, 2 of them burn-in, a validation in each, 16 images on each device."""
    for samples in (100_000, 297_984):
        config = full.get_config()
        made = run_length.resolve(config, samples)
        per_epoch = samples / made.batch_size
        assert made.batch_size == 16 * jax.device_count()
        assert made.total_steps == pytest.approx(40 * per_epoch, abs=1)
        assert made.burn_in_steps == pytest.approx(2 * per_epoch, abs=1)
        assert made.validate_every == pytest.approx(per_epoch, abs=1)
        assert made.optimizer.schedule == "step"  # a tenth from half of the steps on
