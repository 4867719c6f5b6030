"""From a configuration to all that a run is made of, and to its first state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct, traverse_util
from jaxtyping import Float
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.body_models import assets
from dice_jax.body_models.lbs import BodyModel
from dice_jax.checkpoints import pretrained_backbones
from dice_jax.errors import UserError
from dice_jax.losses.presets import LossWeights, loss_weights
from dice_jax.structs import HandParams, HeadParams
from dice_jax.training import optimizer
from dice_jax.training.data_parallel import AXIS
from dice_jax.training.state import Learner, TrainState


class BodyModels(struct.PyTreeNode):
    """The arrays that every step reads and none changes."""

    hand: BodyModel
    head: BodyModel
    queries: Float[Array, "N 3"]


@dataclasses.dataclass(frozen=True)
class TrainSetup:
    """What an update consists of besides its data: networks, optimizers, weights of the losses."""

    network: models.DICE
    hand_discriminator: models.HandDiscriminator
    head_discriminator: models.HeadDiscriminator
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    losses: LossWeights
    ema_decay: float
    burn_in_steps: int
    accumulate_steps: int = 1


def build_setup(config: ConfigDict) -> tuple[TrainSetup, BodyModels]:
    """Builds what `config` describes.

    Args:
        config: see configs/default.py.

    Raises:
        ValueError: a field holds a value that it cannot have, naming both.
        FileNotFoundError: a licensed body model is not there, and what to do about it.
    """
    named = config.get("body_models") or {}  # else the open ones
    hand_model, head_model = (
        assets.load_hand(named.get("hand")),
        assets.load_head(named.get("head")),
    )
    network, queries = models.create_model(config.model, hand_model, head_model, axis_name=AXIS)
    setup = TrainSetup(
        network=network,
        hand_discriminator=models.HandDiscriminator(),
        head_discriminator=models.HeadDiscriminator(),
        generator_optimizer=optimizer.generator_optimizer(config.optimizer, config.total_steps),
        discriminator_optimizer=optimizer.discriminator_optimizer(config.optimizer),
        learning_rate=optimizer.learning_rate(config.optimizer, config.total_steps),
        losses=loss_weights(overrides=config.losses),
        ema_decay=config.ema_decay,
        burn_in_steps=config.burn_in_steps,
        accumulate_steps=config.accumulate_steps,
    )
    return setup, BodyModels(hand_model, head_model, queries)


def init_state(setup: TrainSetup, bodies: BodyModels, seed: int) -> TrainState:
    """The state before the first update: random weights, and the backbone's pretrained ones where
    the recipe has them.

    Args:
        recipe: networks and optimizers.
        bodies: give the template queries.
        seed: decides the random weights, and the masks and dropout of the whole run.
    """
    images = jnp.zeros((1, 224, 224, 3))
    hand = HandParams(*(jnp.zeros((1, size)) for size in (10, 3, 45, 3)))
    head = HeadParams(*(jnp.zeros((1, size)) for size in (100, 50, 3, 3, 3, 3)))
    rng, network_rng, hand_rng, head_rng = jax.random.split(jax.random.PRNGKey(seed), 4)

    @jax.jit  # one compilation instead of one for each shape
    def first_state(variables):
        discriminators = (
            setup.hand_discriminator.init(hand_rng, hand)["params"],
            setup.head_discriminator.init(head_rng, head)["params"],
        )
        hand_discriminator, head_discriminator = (
            Learner.create(params, setup.discriminator_optimizer) for params in discriminators
        )
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            rng=rng,
            generator=Learner.create(variables["params"], setup.generator_optimizer),
            batch_stats=variables.get("batch_stats", {}),
            ema_params=variables["params"] if setup.ema_decay else {},
            hand_discriminator=hand_discriminator,
            head_discriminator=head_discriminator,
            failed_step=jnp.full((), -1, jnp.int32),
        )

    return first_state(_init_network(setup.network, network_rng, images, bodies.queries))


def start_from(state: TrainState, weights: Mapping[str, Any]) -> tuple[TrainState, list[str]]:
    """Puts trained weights in place of random ones, by name.

    Args:
        state: before the first update.
        weights: from `export.load_weights`. What the network does not have is left out.

    Returns:
        The state, and the names that `weights` lacks: these stay random.

    Raises:
        UserError: a weight has another shape, or nothing fits.
    """
    own = {"params": state.generator.params, "batch_stats": state.batch_stats}
    own = traverse_util.flatten_dict(own, sep="/")
    given = traverse_util.flatten_dict(weights, sep="/")
    fitting = [name for name in own if name in given]
    if not fitting:
        raise UserError("init_from: these weights belong to another network, nothing of them fits")
    for name in fitting:
        if np.shape(given[name]) != own[name].shape:
            raise UserError(
                f"init_from: {name} is {np.shape(given[name])} there and {own[name].shape} in this network"
            )
    merged = own | {name: jnp.asarray(given[name], own[name].dtype) for name in fitting}
    merged = traverse_util.unflatten_dict(merged, sep="/")
    params = merged["params"]
    state = state.replace(
        generator=state.generator.replace(params=params),
        batch_stats=merged.get("batch_stats", {}),
        ema_params=params if state.ema_params else {},
    )
    return state, [name for name in own if name not in given]


def _init_network(
    network: models.DICE, rng: Array, images: Array, queries: Array
) -> dict[str, Any]:
    """Random weights and, where the network's configuration names them, the backbone's pretrained
    ones.
    """
    init = lambda key: network.init(key, images, queries, train=False)
    if not network.config.backbone.pretrained:
        return jax.jit(init)(rng)
    # Random weights that are to be replaced would take longer to compile than all others together.
    others = jax.jit(
        lambda key: {
            kind: {name: tree for name, tree in trees.items() if name != optimizer.BACKBONE}
            for kind, trees in init(key).items()
        }
    )(rng)
    variables = {
        kind: {**trees, **others[kind]} for kind, trees in jax.eval_shape(init, rng).items()
    }
    return pretrained_backbones.load_backbone(variables, network.config)
