"""Networks, optimizers and loss weights of a run, built from its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Float
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.body_models import assets
from dice_jax.body_models.lbs import BodyModel
from dice_jax.errors import UserError
from dice_jax.losses.presets import LossWeights, loss_weights
from dice_jax.training import optimizer
from dice_jax.training.data_parallel import AXIS
from dice_jax.training.evidence import EvidenceMix
from dice_jax.training.lifting import ViewRanges

# As `models.create_model`: from the config section `model` and both body models, with the keyword
# `axis_name`, to the network and its template queries.
NetworkFactory = Callable[..., tuple[nn.Module, Float[Array, "N 3"]]]


class BodyModels(struct.PyTreeNode):
    """Arrays that every step reads and none changes.

    Attributes:
        hand, head: body models.
        queries: template positions of the tokens, meters.
    """

    hand: BodyModel
    head: BodyModel
    queries: Float[Array, "N 3"]


@dataclasses.dataclass(frozen=True)
class TrainSetup:
    """The static part of an update: all that is neither an array nor data.

    Attributes:
        network: the generator.
        hand_discriminator, head_discriminator: one for each body model's parameters.
        generator_optimizer, discriminator_optimizer: their optimizers.
        learning_rate: the generator's, by update, for the log.
        losses: weights of the terms of the loss.
        ema_decay: of the moving average of the generator's weights; 0: none.
        burn_in_steps: updates before the touch, collision and depth losses are added.
        slow_losses_every: those three are computed at every update that is a multiple of it, with
            so many times their weight: the mean gradient is the same.
        accumulate_steps: number of micro-batches per update.
        evidence: what the network is told of landmarks; None: it does not see them.
        views: from where it is shown the scenes, where it does not see the pictures; else None.
    """

    network: nn.Module
    hand_discriminator: models.HandDiscriminator
    head_discriminator: models.HeadDiscriminator
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    losses: LossWeights
    ema_decay: float
    burn_in_steps: int
    slow_losses_every: int = 1
    accumulate_steps: int = 1
    evidence: EvidenceMix | None = None
    views: ViewRanges | None = None


def build_setup(
    config: ConfigDict, create_network: NetworkFactory = models.create_model
) -> tuple[TrainSetup, BodyModels]:
    """Builds everything that `config` describes, apart from the data and the state.

    Args:
        config: a whole configuration, see configs/default.py.
        create_network: builds the generator.

    Raises:
        ValueError: a field has an impossible value; the message names both.
        UserError: the network has a gate that the losses do not train.
        FileNotFoundError: a licensed body model is missing; the message says how to get it.
    """
    names = config.get("body_models") or {}  # without a name: the open models
    hand_model = assets.load_hand(names.get("hand"))
    head_model = assets.load_head(names.get("head"))
    network, queries = create_network(config.model, hand_model, head_model, axis_name=AXIS)
    losses = loss_weights(overrides=config.losses)
    if config.model.presence and not losses.interaction * losses.presence:
        raise UserError(
            "losses.presence is 0 but model.presence is True: the untrained gate would blank "
            "contacts and deformations at random. Add --config.model.presence=False"
        )
    setup = TrainSetup(
        network=network,
        hand_discriminator=models.HandDiscriminator(),
        head_discriminator=models.HeadDiscriminator(with_neck=losses.discriminator_with_neck),
        generator_optimizer=optimizer.generator_optimizer(config.optimizer, config.total_steps),
        discriminator_optimizer=optimizer.discriminator_optimizer(config.optimizer),
        learning_rate=optimizer.learning_rate(config.optimizer, config.total_steps),
        losses=losses,
        ema_decay=config.ema_decay,
        burn_in_steps=config.burn_in_steps,
        slow_losses_every=config.slow_losses_every,
        accumulate_steps=config.accumulate_steps,
        evidence=EvidenceMix(**config.evidence) if config.model.get("evidence_hidden") else None,
        views=ViewRanges(**config.views) if config.model.get("blind") else None,
    )
    return setup, BodyModels(hand_model, head_model, queries)
