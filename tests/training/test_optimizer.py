"""The optimizer's parts against their definitions."""

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from dice_jax.configs import full
from dice_jax.errors import UserError
from dice_jax.training import optimizer


def settings(**changes):
    defaults = dict(
        learning_rate=0.1,
        discriminator_learning_rate=0.1,
        backbone_learning_rate_scale=1.0,
        schedule="constant",
        warmup_steps=0,
        b1=0.9,
        b2=0.999,
        weight_decay=0.0,
        clip_by_value=0.0,
        clip_by_global_norm=0.0,
    )
    return ConfigDict({**defaults, **changes})


def test_warm_up_rises_to_the_peak_from_above_zero():
    rate = optimizer.learning_rate(settings(warmup_steps=10), 100)
    rates = np.array([rate(step) for step in range(12)])
    assert rates[0] > 0 and np.all(np.diff(rates[:11]) > 0)
    np.testing.assert_allclose(rates[10:], 0.1, rtol=1e-6)


def test_step_schedule_falls_to_a_tenth_half_way():
    rate = optimizer.learning_rate(settings(schedule="step", warmup_steps=10), 100)
    np.testing.assert_allclose([rate(49), rate(51), rate(99)], [0.1, 0.01, 0.01], rtol=1e-6)


def test_cosine_schedule_falls_monotonically_to_zero():
    rate = optimizer.learning_rate(settings(schedule="cosine", warmup_steps=10), 100)
    rates = np.array([rate(step) for step in range(10, 101)])
    assert np.all(np.diff(rates) < 0)
    np.testing.assert_allclose(rates[[0, 45, -1]], [0.1, 0.05, 0.0], atol=1e-6)


def test_an_unknown_schedule_is_reported_with_the_choices():
    with pytest.raises(UserError, match=r"'linear'.*constant, step, cosine"):
        optimizer.learning_rate(settings(schedule="linear"), 100)


def test_only_matrices_decay():
    params = {
        "dense": {"kernel": np.ones((3, 3)), "bias": np.ones(3)},
        "norm": {"scale": np.ones(3)},
    }
    transformation = optimizer.generator_optimizer(settings(weight_decay=0.5), 100)
    # Too small for an effect on Adam, but not zero, as the gradients of frozen weights are.
    grads = jax.tree.map(lambda x: np.full_like(x, 1e-30), params)
    updates, _ = transformation.update(grads, transformation.init(params), params)
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.1 * 0.5, rtol=1e-6)
    assert (
        np.abs(updates["dense"]["bias"]).max() < 1e-6
        and np.abs(updates["norm"]["scale"]).max() < 1e-6
    )


def test_frozen_weights_do_not_decay():
    params = {"frozen": np.ones((3, 3)), "live": np.ones((3, 3))}
    transformation = optimizer.generator_optimizer(settings(weight_decay=0.5), 100)
    grads = {"frozen": np.zeros((3, 3)), "live": np.ones((3, 3))}
    updates, _ = transformation.update(grads, transformation.init(params), params)
    assert not np.any(updates["frozen"]) and np.all(updates["live"] != 0)


def test_the_backbone_has_its_own_learning_rate():
    params = {"backbone": {"kernel": np.ones((2, 2))}, "mesh_net": {"kernel": np.ones((2, 2))}}
    transformation = optimizer.generator_optimizer(settings(backbone_learning_rate_scale=0.25), 100)
    updates, _ = transformation.update(params, transformation.init(params), params)
    np.testing.assert_allclose(
        updates["backbone"]["kernel"], 0.25 * updates["mesh_net"]["kernel"], rtol=1e-6
    )


@pytest.mark.parametrize(
    "changes, clip",
    [
        (dict(clip_by_value=0.3), lambda g: np.clip(g, -0.3, 0.3)),
        (dict(clip_by_global_norm=0.3), lambda g: g * min(1.0, 0.3 / np.linalg.norm(g))),
    ],
)
def test_gradients_are_clipped_before_adam(rng, changes, clip):
    params = {"kernel": rng.normal(size=(4, 5)).astype(np.float32)}
    clipped, plain = (
        optimizer.generator_optimizer(settings(**changes), 9),
        optax.adamw(0.1, weight_decay=0.0),
    )
    state, reference = clipped.init(params), plain.init(params)
    for _ in range(3):  # Adam's first update does not depend on the scale of the gradient
        grads = (rng.normal(size=(4, 5)) * rng.uniform(0.01, 3.0)).astype(np.float32)
        updates, state = clipped.update({"kernel": grads}, state, params)
        expected, reference = plain.update({"kernel": clip(grads)}, reference, params)
    np.testing.assert_allclose(updates["kernel"], expected["kernel"], rtol=1e-4)


def test_only_the_generator_has_a_schedule():
    """As in the authors' code."""
    config = full.get_config("synthetic")
    config.total_steps = 4
    rate = optimizer.learning_rate(config.optimizer, config.total_steps)
    assert [float(rate(step)) for step in (0, 3)] == pytest.approx([6e-4, 6e-5])
    discriminator = optimizer.discriminator_optimizer(config.optimizer)
    params = grads = {"w": np.ones(3, np.float32)}
    state, sizes = discriminator.init(params), []
    for _ in range(4):
        updates, state = discriminator.update(grads, state, params)
        sizes.append(float(np.abs(updates["w"]).max()))
    assert sizes == pytest.approx([6e-4] * 4, rel=1e-3)
