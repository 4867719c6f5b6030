"""One update of network and discriminators, on random samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import micro_run
from support.fast_compile import LITTLE_OPTIMIZATION

from dice_jax import models
from dice_jax.configs import full, small, tiny
from dice_jax.input_pipeline import loader
from dice_jax.losses.presets import loss_weights
from dice_jax.models import presets
from dice_jax.training import data_parallel
from dice_jax.training.initial_state import init_state
from dice_jax.training.setup import build_setup
from dice_jax.training.step import train_step

BATCH = 8


@pytest.fixture(scope="module")
def batch():
    """Random samples, each label missing in some of them."""
    whole = loader.Loader([micro_run.sample(i) for i in range(BATCH)], BATCH, seed=0).batch(0)
    rng = np.random.default_rng(0)
    mask = lambda: (rng.random(BATCH) < 0.6).astype(np.float32)
    return whole.replace(
        has_3d=mask(), has_params=mask(), has_contact=mask(), has_deformations=mask()
    )


@pytest.fixture(scope="module")
def setting():
    """TrainSetup, BodyModels and first state of the micro network, without dropout."""
    config = micro_run.get_config(total_steps=1000, ema_decay=0.9)
    setup, bodies = build_setup(config, micro_run.create_network)
    setup = dataclasses.replace(setup, network=setup.network.clone(dropout=0.0))
    return setup, bodies, init_state(setup, bodies, seed=0)


def with_setup(setting, **changes):
    """The setting with other fields of its TrainSetup."""
    setup, bodies, state = setting
    return dataclasses.replace(setup, **changes), bodies, state


def update(setting, batch, devices=1, real=None):
    """`train_step` on some of the devices; the results of the first one."""
    setup, bodies, state = setting
    replicate = functools.partial(data_parallel.replicate, devices=devices)
    shard = functools.partial(data_parallel.shard, devices=devices)
    arguments = replicate(state), shard(batch), replicate(bodies), shard(real)
    compiled = compile_update(setup, devices, _Shapes(arguments))
    return data_parallel.unreplicate(compiled(*arguments))


class _Shapes:
    """Arguments, all of which with the same tree structure are equal, as a key of a cache."""

    def __init__(self, arguments):
        self.arguments = arguments
        self._key = jax.tree.structure(arguments[3]), len(arguments[1].images[0])

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return self._key == other._key


@functools.cache
def compile_update(setup, devices, shapes):
    update = data_parallel.parallelize(functools.partial(train_step, setup), devices=devices)
    return update.lower(*shapes.arguments).compile(compiler_options=LITTLE_OPTIMIZATION)


def assert_same_update(actual, expected):
    """Checks that losses, gradients and running statistics are equal within rounding errors."""
    (state, losses), (expected_state, expected_losses) = actual, expected
    assert set(losses) == set(expected_losses)
    for name, value in expected_losses.items():
        np.testing.assert_allclose(losses[name], value, rtol=1e-4, err_msg=name)
    # Gradients instead of weights, because the first step of Adam has the size of the learning
    # rate even where a gradient is rounding noise.
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


def test_an_update_does_not_depend_on_the_number_of_devices(setting, batch):
    """With dropout, whose masks are drawn for each sample of the global batch."""
    dropout = with_setup(setting, network=setting[0].network.clone(dropout=0.3))
    assert_same_update(update(dropout, batch, devices=8), update(dropout, batch))


def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(setting, batch):
    """Although labels are spread unevenly: each mean is divided by the count of the whole batch."""
    frozen = with_setup(setting, network=frozen_statistics(setting[0].network))
    micro_batches = with_setup(frozen, accumulate_steps=2)
    assert_same_update(update(micro_batches, batch, devices=2), update(frozen, batch))


def frozen_statistics(network):
    """The network with running statistics in its batch norm, which do not depend on the batch."""
    backbone = dataclasses.replace(network.config.backbone, frozen_batch_norm=True)
    return network.clone(config=dataclasses.replace(network.config, backbone=backbone))


def test_micro_batches_hold_the_same_samples_on_any_number_of_devices(setting, batch):
    """Otherwise the statistics of batch norm would depend on the devices."""
    micro_batches = with_setup(setting, accumulate_steps=2)
    assert_same_update(update(micro_batches, batch, devices=2), update(micro_batches, batch))


def test_the_discriminators_have_the_gradient_of_their_own_loss(setting, batch):
    """It is that of L_D, by its definition, for the predictions before the update."""
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


def test_given_real_samples_replace_the_labels_for_the_discriminators_only(setting, batch):
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
    assert losses["loss/params"] != expected_losses["loss/params"]


def test_the_adversarial_loss_alone_improves_the_logits_of_fixed_discriminators(setting, batch):
    names = ("params", "contact", "deformation", "presence", "deformation_prior")
    losses = dataclasses.replace(setting[0].losses, **dict.fromkeys(names, 0.0))
    adversarial_only, bodies, state = with_setup(setting, losses=losses)
    now, metrics = update((adversarial_only, bodies, state), batch)
    same_discriminators = now.replace(
        hand_discriminator=state.hand_discriminator, head_discriminator=state.head_discriminator
    )
    _, later = update((adversarial_only, bodies, same_discriminators), batch)
    assert set(metrics) >= {"loss/adversarial"} and "loss/params" not in metrics
    assert later["loss/adversarial"] < metrics["loss/adversarial"]


def test_forty_updates_fit_a_fixed_batch(setting, batch):
    setup, bodies, state = setting
    losses = []
    for _ in range(40):
        state, metrics = update((setup, bodies, state), batch)
        losses.append(metrics["loss"])
    assert losses[-1] < 0.7 * losses[0]
    assert state.step == 40 and state.failed_step == -1


def test_the_average_of_the_weights_follows_its_definition(setting, batch):
    _, _, state = setting
    now, _ = update(setting, batch)
    decay = min(0.9, 1 / 10)  # of the first update
    expected = jax.tree.map(
        lambda a, b: decay * a + (1 - decay) * b, state.generator.params, now.generator.params
    )
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        now.ema_params,
        expected,
    )


def test_the_state_stays_constant_after_a_loss_that_is_not_finite(setting, batch):
    setup, bodies, _ = setting
    poison = batch.replace(
        hand_params=batch.hand_params.replace(betas=batch.hand_params.betas + np.float32(np.inf))
    )
    first, _ = update(setting, batch)
    failed, metrics = update((setup, bodies, first), poison)
    later, _ = update((setup, bodies, failed), batch)
    assert not np.isfinite(metrics["loss"]) and failed.failed_step == later.failed_step == 1
    jax.tree.map(np.testing.assert_array_equal, later.replace(failed_step=first.failed_step), first)


@pytest.mark.parametrize("part", ["hand", "head"])
def test_the_state_stays_constant_when_a_discriminator_is_not_finite(setting, batch, part):
    """The network's own loss is finite: only the real samples of one discriminator are not."""
    real = {"hand": batch.hand_params, "head": batch.head_params}
    real[part] = jax.tree.map(lambda x: x * np.float32(np.inf), real[part])
    failed, metrics = update(setting, batch, real=(real["hand"], real["head"]))
    assert np.isfinite(metrics["loss"]) and np.isfinite(metrics["grad_norm"])
    assert not np.isfinite(metrics[f"loss/discriminator_{part}"])
    assert failed.failed_step == 0
    state = setting[2]
    jax.tree.map(
        np.testing.assert_array_equal, failed.replace(failed_step=state.failed_step), state
    )


def test_weights_without_a_gradient_do_not_change(setting, batch):
    """Weight decay, for example, must not shrink frozen weights."""
    setup, _, state = setting

    class Frozen(micro_run.MicroNetwork):
        def __call__(self, images, queries, detections=None, intrinsics=None, *, train):
            output = super().__call__(images, queries, train=train)
            return output.replace(presence_logit=jax.lax.stop_gradient(output.presence_logit))

    network = Frozen(setup.network.config, data_parallel.AXIS, dropout=0.0)
    now, _ = update(with_setup(setting, network=network), batch)
    before, after = state.generator.params, now.generator.params
    jax.tree.map(np.testing.assert_array_equal, after["presence"], before["presence"])
    moved = jax.tree.map(np.subtract, after["deformations"], before["deformations"])
    assert optax.tree.norm(moved) > 0


@pytest.mark.parametrize(
    "config",
    [
        tiny,
        pytest.param(small, marks=pytest.mark.slow),
        pytest.param(full, marks=pytest.mark.slow),
    ],
    ids=["tiny", "small", "full"],
)
def test_an_update_of_every_config_keeps_the_structure_of_the_state(config, batch):
    """Traced, not compiled, with all losses."""
    config = config.get_config("synthetic") if config is full else config.get_config()
    config.model.backbone.pretrained = ""
    setup, bodies = build_setup(config)
    state = jax.eval_shape(lambda: init_state(setup, bodies, 0))
    copy = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), tree)
    shares = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, 1, *x.shape[1:]), x.dtype), batch)
    step = jax.vmap(functools.partial(train_step, setup), axis_name=data_parallel.AXIS)
    after, metrics = jax.eval_shape(step, copy(state), shares, copy(bodies))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), copy(state)
    )
    assert {"loss/collision", "loss/depth", "loss/touch", "loss/reprojection"} <= set(metrics)


@pytest.mark.slow
def test_half_precision_and_rematerialization_change_the_losses_little(batch):
    """And the weights stay in single precision."""
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
    """The network of configs/tiny.py without dropout, with the losses that compile fast."""
    config = tiny.get_config()
    config.losses.update(touch=0.0, collision=0.0, depth=0.0)
    for net in (config.model.mesh_net, config.model.interaction_net):
        net.encoders.dropout = 0.0
    return config


def two_steps(config, batch):
    """The state after two updates, and the metrics of both."""
    return micro_run.two_steps(*build_setup(config), batch)


@pytest.mark.slow
def test_the_real_network_learns_with_all_losses(batch):
    config = micro_run.get_config(burn_in_steps=0, ema_decay=0.0)
    config.model = presets.tiny()
    config.losses.update({name: getattr(loss_weights(), name) for name in micro_run.SLOW_LOSSES})
    setup, bodies = build_setup(config)
    state, losses = init_state(setup, bodies, seed=0), []
    two = jax.tree.map(lambda x: x[:2], batch)
    for _ in range(12):
        state, metrics = update((setup, bodies, state), two)
        losses.append(metrics["loss"])
    assert {"loss/collision", "loss/depth", "loss/touch", "loss/reprojection"} <= set(metrics)
    assert min(losses[-3:]) < 0.8 * losses[0] and state.failed_step == -1
