"""One update of the network and then of both discriminators (paper sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import chex
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int, PyTree

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.losses.adversarial import fake_loss, real_loss
from dice_jax.losses.masking import masked_mean
from dice_jax.losses.total import generator_loss, label_counts
from dice_jax.structs import Batch, HandParams, HeadParams
from dice_jax.training import evidence, lifting
from dice_jax.training.data_parallel import AXIS
from dice_jax.training.gradient_accumulation import over_micro_batches
from dice_jax.training.real_samples import RealSamples
from dice_jax.training.setup import BodyModels, TrainSetup
from dice_jax.training.state import Learner, TrainState, select, update_average

Metrics = dict[str, Float[Array, ""]]


def train_step(
    setup: TrainSetup,
    state: TrainState,
    batch: Batch,
    bodies: BodyModels,
    real: RealSamples | None = None,
) -> tuple[TrainState, Metrics]:
    """One update of the network and, with the parameters it predicted, of both discriminators.

    To be mapped over `data_parallel.AXIS`. The update does not depend on the number of devices. Of
    `setup.accumulate_steps` it depends only through dropout and batch norm, which are computed one
    micro-batch at a time. Once a loss or a gradient is not finite the state no longer changes, and
    its `failed_step` is the number of that update.

    Args:
        setup: static.
        state: before the update.
        batch: this device's share.
        bodies: body models and template queries.
        real: parameters of as many hands and heads as `batch` has samples, for the discriminators
            to learn as real; None: those labels of the batch that are present.

    Returns:
        The state after the update, and scalar metrics averaged over the devices: "loss" (of the
        network, weighted), "loss/NAME" (unweighted), "lr" and "grad_norm".
    """
    chex.assert_tree_shape_prefix((batch, real), batch.has_params.shape)
    chex.assert_shape(batch.images, (None, CROP_SIZE, CROP_SIZE, 3))
    mask_rng, dropout_rng = jax.random.split(jax.random.fold_in(state.rng, state.step))
    counts = label_counts(batch, setup.losses, AXIS)
    # Counted from 1, so that the losses are there whenever a multiple of it is logged.
    left_out = (state.step + 1) % setup.slow_losses_every != 0
    if setup.views is not None:
        key = jax.random.fold_in(state.rng, state.step + lifting.FIRST_KEY)
        batch = lifting.new_views(key, batch, bodies.hand, bodies.head, setup.views, AXIS)
    if setup.evidence is not None:
        key = jax.random.fold_in(state.rng, state.step + evidence.FIRST_KEY)
        batch = evidence.draw(key, batch, bodies.hand, bodies.head, setup.evidence, AXIS)

    ################ Network ################
    def network_loss(params, batch_stats, micro_batch: Batch, rngs):
        output, updates = setup.network.apply(
            {"params": params, "batch_stats": batch_stats},
            models.preprocess(micro_batch.images),
            bodies.queries,
            micro_batch.detections,
            micro_batch.intrinsics,
            train=True,
            rngs=rngs,
            mutable=["batch_stats"],
        )
        prediction = models.decode(output, bodies.hand, bodies.head, gate_by_presence=False)
        targets = models.pose_targets(micro_batch, bodies.hand, bodies.head)
        fake_logits = (
            _hand_logits(setup, state.hand_discriminator.params, output.hand_params),
            _head_logits(setup, state.head_discriminator.params, output.head_params),
        )
        loss, losses = generator_loss(
            output,
            prediction,
            targets,
            micro_batch,
            bodies.hand,
            bodies.head,
            setup.losses,
            axis_name=AXIS,
            fake_logits=fake_logits,
            burn_in=(state.step < setup.burn_in_steps) | left_out,
            after_burn_in_factor=setup.slow_losses_every,
            counts=counts,
        )
        return loss, (losses, (output.hand_params, output.head_params), updates["batch_stats"])

    def gradients(batch_stats: PyTree, micro_batch: Batch, number: Int[Array, ""]):
        accumulating = setup.accumulate_steps > 1
        rngs = {
            "mask": mask_rng,
            "dropout": jax.random.fold_in(dropout_rng, number) if accumulating else dropout_rng,
        }
        (loss, (losses, fake, batch_stats)), grads = jax.value_and_grad(network_loss, has_aux=True)(
            state.generator.params, batch_stats, micro_batch, rngs
        )
        return (loss, losses, grads), fake, batch_stats

    (loss, losses, grads), fake, batch_stats = over_micro_batches(
        gradients, state.batch_stats, batch, setup.accumulate_steps
    )
    grads, batch_stats = jax.lax.pmean((grads, batch_stats), AXIS)
    generator = state.generator.update(grads, setup.generator_optimizer)

    ################ Discriminators ################
    everyone = jnp.ones_like(batch.has_params)
    has_real = batch.has_params if real is None else everyone
    real_hand, real_head = real or (batch.hand_params, batch.head_params)
    fake_hand, fake_head = jax.lax.stop_gradient(fake)

    def update_discriminator(
        learner: Learner, logits: Callable, fake: PyTree, real: PyTree, weight: float
    ):
        def discriminator_loss(params):
            loss_real = masked_mean(real_loss(logits(setup, params, real)), has_real, AXIS)
            loss_fake = masked_mean(fake_loss(logits(setup, params, fake)), everyone, AXIS)
            loss = loss_real + loss_fake
            return weight * setup.losses.adversarial * loss, loss

        (_, loss), grads = jax.value_and_grad(discriminator_loss, has_aux=True)(learner.params)
        grads = jax.lax.pmean(grads, AXIS)
        learner = learner.update(grads, setup.discriminator_optimizer)
        return learner, loss, jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads))

    hand_discriminator, losses["discriminator_hand"], hand_is_finite = update_discriminator(
        state.hand_discriminator,
        _hand_logits,
        fake_hand,
        real_hand,
        setup.losses.discriminator_hand,
    )
    head_discriminator, losses["discriminator_head"], head_is_finite = update_discriminator(
        state.head_discriminator,
        _head_logits,
        fake_head,
        real_head,
        setup.losses.discriminator_head,
    )

    ################ State ################
    grad_norm = optax.tree.norm(grads)
    is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & hand_is_finite & head_is_finite
    succeeded = is_finite & (state.failed_step < 0)
    updated = state.replace(
        step=state.step + 1,
        generator=generator,
        batch_stats=batch_stats,
        ema_params=update_average(state.ema_params, generator.params, state.step, setup.ema_decay),
        hand_discriminator=hand_discriminator,
        head_discriminator=head_discriminator,
    )
    failed = state.replace(
        failed_step=jnp.where(state.failed_step < 0, state.step, state.failed_step)
    )
    metrics = {
        "loss": loss,
        **{f"loss/{name}": value for name, value in losses.items()},
        "lr": setup.learning_rate(state.step),
        "grad_norm": grad_norm,
    }
    return select(succeeded, updated, failed), metrics


def _hand_logits(setup: TrainSetup, params: PyTree, hand: HandParams) -> Float[Array, "B"]:
    return cast(Array, setup.hand_discriminator.apply({"params": params}, hand))


def _head_logits(setup: TrainSetup, params: PyTree, head: HeadParams) -> Float[Array, "B"]:
    return cast(Array, setup.head_discriminator.apply({"params": params}, head))
