"""One update of network and discriminators, on random samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import micro_run

from dice_jax import models
from dice_jax.configs import full, small, tiny
from dice_jax.input_pipeline import loader
from dice_jax.models import presets
from dice_jax.training import data_parallel
from dice_jax.training import setup as train_setup
from dice_jax.training.step import train_step

BATCH = 8


@pytest.fixture(scope="module")
def batch():
    """Random samples; a label is missing here and there, for other samples each time."""
    whole = loader.Loader([micro_run.sample(i) for i in range(BATCH)], BATCH, seed=0).batch(0)
    rng = np.random.default_rng(0)
    mask = lambda: (rng.random(BATCH) < 0.6).astype(np.float32)
    return whole.replace(
        has_3d=mask(), has_params=mask(), has_contact=mask(), has_deformations=mask()
    )


@pytest.fixture(scope="module")
def setting():
    """TrainSetup, bodies and first state with the micro network, without dropout."""
    with pytest.MonkeyPatch.context() as patch:
        micro_run.install(patch.setattr)
        setup, bodies = train_setup.build_setup(
            micro_run.get_config(total_steps=1000, ema_decay=0.9)
        )
    setup = dataclasses.replace(setup, network=setup.network.clone(dropout=0.0))
    return setup, bodies, train_setup.init_state(setup, bodies, seed=0)


@functools.cache
def compiled(setup, count):
    return jax.pmap(
        functools.partial(train_step, setup), data_parallel.AXIS, devices=jax.devices()[:count]
    )


def update(setting, batch, count=1, real=None):
    """`train_step` over `count` devices; the results of the first."""
    setup, bodies, state = setting
    copies = lambda tree: jax.tree.map(lambda x: np.stack([x] * count), tree)
    shares = lambda tree: jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)
    state, metrics = compiled(setup, count)(
        copies(state), shares(batch), copies(bodies), shares(real)
    )
    return jax.tree.map(lambda x: np.asarray(x[0]), (state, metrics))


def assert_same_update(actual, expected):
    """Two results of `update`: equal losses, gradients and running statistics, but for rounding."""
    (state, losses), (expected_state, expected_losses) = actual, expected
    assert set(losses) == set(expected_losses)
    for name, value in expected_losses.items():
        np.testing.assert_allclose(losses[name], value, rtol=1e-4, err_msg=name)
    # Gradients, not weights: where a gradient is rounding noise, Adam's first step may go either
    # way.
    gradients = lambda state: [
        learner.opt_state
        for learner in (state.generator, state.hand_discriminator, state.head_discriminator)
    ]
    for a, b in zip(jax.tree.leaves(gradients(expected_state)), jax.tree.leaves(gradients(state))):
        np.testing.assert_allclose(b, a, atol=1e-3 * np.abs(a).max() + 1e-7)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
        state.batch_stats,
        expected_state.batch_stats,
    )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_eight_devices_equal_one(setting, batch, dropout):
    setup, bodies, state = setting
    setting = (
        dataclasses.replace(setup, network=setup.network.clone(dropout=dropout)),
        bodies,
        state,
    )
    assert_same_update(update(setting, batch, 8), update(setting, batch, 1))


def test_micro_batches_add_up_to_the_whole(setting, batch):
    """Exactly, although labels are spread unevenly over them: every mean is divided by the count of
    the whole batch.
    """
    setup, bodies, state = setting
    setup = dataclasses.replace(setup, network=frozen_statistics(setup.network))
    expected = update((setup, bodies, state), batch)
    parts = dataclasses.replace(setup, accumulate_steps=2)
    assert_same_update(update((parts, bodies, state), batch, 4), expected)


def frozen_statistics(network):
    """The network with the running statistics in its batch norm: those of a batch are not those of
    its parts.
    """
    backbone = dataclasses.replace(network.config.backbone, frozen_batch_norm=True)
    return network.clone(config=dataclasses.replace(network.config, backbone=backbone))


def test_micro_batches_hold_the_same_samples_on_any_number_of_devices(setting, batch):
    """So the statistics of batch norm, which sees one micro-batch at a time, do not depend on the
    devices either.
    """
    setup, bodies, state = setting
    parts = dataclasses.replace(setup, accumulate_steps=2), bodies, state
    assert_same_update(update(parts, batch, 4), update(parts, batch, 1))


def test_discriminators_descend_their_own_loss_alone(setting, batch):
    """Their new weights follow from the definition of L_D on the answers before the update, and
    from nothing else.
    """
    setup, bodies, state = setting
    after, _ = update(setting, batch)
    variables = {"params": state.generator.params, "batch_stats": state.batch_stats}
    output, _ = setup.network.clone(axis_name=None).apply(
        variables,
        models.preprocess(batch.images),
        bodies.queries,
        train=True,
        mutable=["batch_stats"],
    )
    real_samples = batch.has_params > 0
    for part in ("hand", "head"):
        name = f"{part}_discriminator"
        network, before, now = getattr(setup, name), getattr(state, name), getattr(after, name)
        fake, real = getattr(output, f"{part}_params"), getattr(batch, f"{part}_params")

        def loss(params, network=network, fake=fake, real=real):
            probability = lambda x: jax.nn.sigmoid(network.apply({"params": params}, x))
            return (
                -jnp.log(probability(real))[real_samples].mean()
                - jnp.log(1 - probability(fake)).mean()
            )

        grads = jax.grad(loss)(before.params)
        adam = now.opt_state[0]
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6),
            adam.mu,
            jax.tree.map(lambda g: 0.1 * g, grads),
        )
        assert loss(now.params) < loss(before.params)


def test_discriminators_may_be_shown_other_samples_than_the_labels(setting, batch):
    other = jax.tree.map(
        lambda x: x[::-1] + np.float32(0.5), (batch.hand_params, batch.head_params)
    )
    as_labels = batch.replace(
        hand_params=other[0], head_params=other[1], has_params=np.ones(BATCH, np.float32)
    )
    (shown, losses), (expected, expected_losses) = (
        update(setting, batch, real=other),
        update(setting, as_labels),
    )
    for part in ("hand", "head"):
        loss, name = f"loss/discriminator_{part}", f"{part}_discriminator"
        np.testing.assert_allclose(losses[loss], expected_losses[loss], rtol=1e-5)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6),
            getattr(shown, name).params,
            getattr(expected, name).params,
        )
    assert (
        losses["loss/params"] != expected_losses["loss/params"]
    )  # the labels themselves stay labels


def test_network_is_drawn_towards_what_the_discriminators_call_real(setting, batch):
    setup, bodies, state = setting
    names = ("params", "contact", "deformation", "presence", "deformation_prior")
    adversarial_only = dataclasses.replace(
        setup, losses=dataclasses.replace(setup.losses, **dict.fromkeys(names, 0.0))
    )
    setting = adversarial_only, bodies, state
    now, metrics = update(setting, batch)
    frozen_judges = now.replace(
        hand_discriminator=state.hand_discriminator, head_discriminator=state.head_discriminator
    )
    _, later = update((adversarial_only, bodies, frozen_judges), batch)
    assert set(metrics) >= {"loss/adversarial"} and "loss/params" not in metrics
    assert later["loss/adversarial"] < metrics["loss/adversarial"]


def test_fixed_batch_is_learned(setting, batch):
    setup, bodies, state = setting
    losses = []
    for _ in range(40):
        state, metrics = update((setup, bodies, state), batch)
        losses.append(metrics["loss"])
    assert losses[-1] < 0.7 * losses[0]
    assert state.step == 40 and state.failed_step == -1


def test_average_of_the_weights_lags_behind(setting, batch):
    _, _, state = setting
    now, _ = update(setting, batch)
    decay = min(0.9, 1 / 10)  # the first steps forget faster
    expected = jax.tree.map(
        lambda a, b: decay * a + (1 - decay) * b, state.generator.params, now.generator.params
    )
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        now.ema_params,
        expected,
    )


def test_state_stands_still_from_the_first_loss_that_is_not_finite(setting, batch):
    setup, bodies, _ = setting
    poison = batch.replace(
        hand_params=batch.hand_params.replace(betas=batch.hand_params.betas + np.float32(np.inf))
    )
    first, _ = update(setting, batch)
    failed, metrics = update((setup, bodies, first), poison)
    later, _ = update((setup, bodies, failed), batch)
    assert not np.isfinite(metrics["loss"]) and failed.failed_step == later.failed_step == 1
    jax.tree.map(np.testing.assert_array_equal, later.replace(failed_step=first.failed_step), first)


def test_frozen_weights_stand_still(setting, batch):
    """No gradient, no change: weight decay alone must not shrink what the configuration freezes."""
    setup, bodies, state = setting

    class Frozen(micro_run.MicroNetwork):
        def __call__(self, images, queries, *, train):
            output = super().__call__(images, queries, train=train)
            return output.replace(presence_logit=jax.lax.stop_gradient(output.presence_logit))

    frozen = dataclasses.replace(
        setup, network=Frozen(setup.network.config, data_parallel.AXIS, dropout=0.0)
    )
    now, _ = update((frozen, bodies, state), batch)
    before, after = state.generator.params, now.generator.params
    jax.tree.map(np.testing.assert_array_equal, after["presence"], before["presence"])
    assert (
        optax.global_norm(jax.tree.map(np.subtract, after["deformations"], before["deformations"]))
        > 0
    )


@pytest.mark.parametrize("config", [small, tiny, full])
def test_recipes_fit_together(config, batch):
    """Traced, not compiled: every network of configs/ with all its losses keeps the state's
    structure.
    """
    config = config.get_config("synthetic") if config is full else config.get_config()
    config.model.backbone.pretrained = ""
    setup, bodies = train_setup.build_setup(config)
    state = jax.eval_shape(lambda: train_setup.init_state(setup, bodies, 0))
    copy = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), tree)
    shares = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, 1, *x.shape[1:]), x.dtype), batch)
    step = jax.vmap(functools.partial(train_step, setup), axis_name=data_parallel.AXIS)
    after, metrics = jax.eval_shape(step, copy(state), shares, copy(bodies))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), copy(state)
    )
    assert {"loss/collision", "loss/depth", "loss/touch", "loss/reprojection"} <= set(metrics)


def test_cheaper_memory_trains_alike(batch):
    """Half precision and recomputed layers change little, and the weights stay in single precision."""
    config = narrow_config()
    _, plain = two_steps(config, batch)
    config.model.dtype = "bfloat16"
    for net in (config.model.mesh_net, config.model.interaction_net):
        net.encoders.remat = True
    state, losses = two_steps(config, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.generator.params)} == {np.dtype("float32")}
    assert all(np.isfinite(value) for step in losses for value in step.values())
    for part in (name for name in plain[0] if name.startswith("loss")):
        np.testing.assert_allclose(losses[0][part], plain[0][part], rtol=0.05, err_msg=part)
    assert losses[1]["loss"] == pytest.approx(plain[1]["loss"], rel=0.05)


def narrow_config():
    """The narrow network of the tests with the losses that compile fast, without dropout."""
    config = tiny.get_config()
    config.losses.update(touch=0.0, collision=0.0, depth=0.0)
    for net in (config.model.mesh_net, config.model.interaction_net):
        net.encoders.dropout = 0.0
    return config


def two_steps(config, batch):
    """The state after two steps, and the losses of both. With fewer samples batch norm would
    magnify every rounding.
    """
    return micro_run.two_steps(*train_setup.build_setup(config), batch)


@pytest.mark.slow
def test_real_network_and_all_losses_learn(batch):
    config = micro_run.get_config(burn_in_steps=0, ema_decay=0.0)
    config.model = presets.tiny()
    config.losses.update(
        {name: getattr(train_setup.loss_weights(), name) for name in micro_run.COSTLY}
    )
    setup, bodies = train_setup.build_setup(config)
    state, losses = train_setup.init_state(setup, bodies, seed=0), []
    two = jax.tree.map(lambda x: x[:2], batch)
    for _ in range(12):
        state, metrics = update((setup, bodies, state), two)
        losses.append(metrics["loss"])
    assert {"loss/collision", "loss/depth", "loss/touch", "loss/reprojection"} <= set(metrics)
    assert min(losses[-3:]) < 0.8 * losses[0] and state.failed_step == -1
