"""One update of everything, as the paper tells it: predict, teach the network, teach both
discriminators.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int, PyTree

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.losses.adversarial import fake_loss, real_loss
from dice_jax.losses.masking import masked_mean
from dice_jax.losses.total import generator_loss, label_counts
from dice_jax.structs import Batch, HandParams, HeadParams
from dice_jax.training.data_parallel import AXIS
from dice_jax.training.gradient_accumulation import over_micro_batches
from dice_jax.training.setup import BodyModels, TrainSetup
from dice_jax.training.state import Learner, TrainState, select, update_average

Metrics = dict[str, Float[Array, ""]]
Samples = tuple[HandParams, HeadParams]


def train_step(
    setup: TrainSetup,
    state: TrainState,
    batch: Batch,
    bodies: BodyModels,
    real: Samples | None = None,
) -> tuple[TrainState, Metrics]:
    """One update of the network and, on the answers it gave, of both discriminators.

    To be mapped over `parallel.AXIS`. The update does not depend on the number of devices, nor, but
    for dropout and batch norm, which know one micro-batch at a time, on `recipe.accumulate_steps`.
    Where a loss or a gradient is not finite, and ever after, the state stays as it is and
    `failed_step` names the step.

    Args:
        recipe: static.
        state: before the update.
        batch: this device's share.
        bodies: body models and template queries.
        real: hands and heads that the discriminators are to call real; by default the labels of the
            batch, the parameters of people who do touch their faces.

    Returns:
        The state after it, and the mean losses: "loss" (the network's, weighted), "loss/NAME"
        (un-weighted), "lr", "grad_norm".
    """
    mask_rng, dropout_rng = jax.random.split(jax.random.fold_in(state.rng, state.step))
    counts = label_counts(batch, setup.losses, AXIS)

    ################ Network ################
    def network_loss(params: PyTree, batch_stats: PyTree, part: Batch, rngs: dict[str, Array]):
        output, updates = setup.network.apply(
            {"params": params, "batch_stats": batch_stats},
            models.preprocess(part.images),
            bodies.queries,
            train=True,
            rngs=rngs,
            mutable=["batch_stats"],
        )
        prediction = models.decode(output, bodies.hand, bodies.head, gate_by_presence=False)
        targets = models.pose_targets(part, bodies.hand, bodies.head)
        fake_logits = (
            _hand_logits(setup, state.hand_discriminator.params, output.hand_params),
            _head_logits(setup, state.head_discriminator.params, output.head_params),
        )
        loss, losses = generator_loss(
            output,
            prediction,
            targets,
            part,
            bodies.hand,
            bodies.head,
            setup.losses,
            axis_name=AXIS,
            fake_logits=fake_logits,
            burn_in=state.step < setup.burn_in_steps,
            counts=counts,
        )
        return loss, (losses, (output.hand_params, output.head_params), updates["batch_stats"])

    def gradients_of(batch_stats: PyTree, part: Batch, number: Int[Array, ""]):
        own_rng = (
            dropout_rng if setup.accumulate_steps == 1 else jax.random.fold_in(dropout_rng, number)
        )
        rngs = {"mask": mask_rng, "dropout": own_rng}
        (loss, (losses, fake, batch_stats)), grads = jax.value_and_grad(network_loss, has_aux=True)(
            state.generator.params, batch_stats, part, rngs
        )
        return (loss, losses, grads), fake, batch_stats

    (loss, losses, grads), fake, batch_stats = over_micro_batches(
        gradients_of, state.batch_stats, batch, setup.accumulate_steps
    )
    grads, batch_stats = jax.lax.pmean((grads, batch_stats), AXIS)
    generator = state.generator.update(grads, setup.generator_optimizer)

    ################ Discriminators ################
    has_real = batch.has_params if real is None else jnp.ones_like(batch.has_params)
    real_hand, real_head = real or (batch.hand_params, batch.head_params)
    fake_hand, fake_head = jax.lax.stop_gradient(fake)

    def update_discriminator(
        learner: Learner, logits_of: Callable, fake: PyTree, real: PyTree, weight: float
    ):
        def loss_of(params):
            loss_real = masked_mean(real_loss(logits_of(setup, params, real)), has_real, AXIS)
            loss_fake = masked_mean(
                fake_loss(logits_of(setup, params, fake)), jnp.ones_like(has_real), AXIS
            )
            return weight * setup.losses.adversarial * (
                loss_real + loss_fake
            ), loss_real + loss_fake

        (_, loss), grads = jax.value_and_grad(loss_of, has_aux=True)(learner.params)
        grads = jax.lax.pmean(grads, AXIS)
        return learner.update(grads, setup.discriminator_optimizer), loss

    hand_discriminator, losses["discriminator_hand"] = update_discriminator(
        state.hand_discriminator,
        _hand_logits,
        fake_hand,
        real_hand,
        setup.losses.discriminator_hand,
    )
    head_discriminator, losses["discriminator_head"] = update_discriminator(
        state.head_discriminator,
        _head_logits,
        fake_head,
        real_head,
        setup.losses.discriminator_head,
    )

    ################ State ################
    grad_norm = optax.global_norm(grads)
    fine = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & (state.failed_step < 0)
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
    return select(fine, updated, failed), metrics


def _hand_logits(setup: TrainSetup, params: PyTree, hand: HandParams) -> Float[Array, "B"]:
    return setup.hand_discriminator.apply({"params": params}, hand)


def _head_logits(setup: TrainSetup, params: PyTree, head: HeadParams) -> Float[Array, "B"]:
    return setup.head_discriminator.apply({"params": params}, head)
