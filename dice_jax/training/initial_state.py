"""The state before the first update: random, pretrained or trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Float, UInt32

from dice_jax.array_types import Array
from dice_jax.checkpoints import npz_weights, pretrained_backbones, shipped
from dice_jax.constants import CROP_SIZE
from dice_jax.errors import UserError
from dice_jax.structs import HandParams, HeadParams
from dice_jax.training.optimizer import BACKBONE
from dice_jax.training.setup import BodyModels, TrainSetup
from dice_jax.training.state import Learner, TrainState


def init_state(setup: TrainSetup, bodies: BodyModels, seed: int) -> TrainState:
    """Initializes all networks and optimizers.

    The weights are random, except for a pretrained backbone if the configuration names one.

    Args:
        setup: networks and optimizers.
        bodies: for their template queries.
        seed: determines the random weights, and the masks and dropout of the whole run.
    """
    hand = HandParams(*(jnp.zeros((1, size)) for size in (10, 3, 45, 3)))
    head = HeadParams(*(jnp.zeros((1, size)) for size in (100, 50, 3, 3, 3, 3)))
    rng, network_rng, hand_rng, head_rng = jax.random.split(jax.random.PRNGKey(seed), 4)

    @jax.jit  # one compilation instead of one for each shape
    def first_state(variables):
        hand_params = setup.hand_discriminator.init(hand_rng, hand)["params"]
        head_params = setup.head_discriminator.init(head_rng, head)["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            rng=rng,
            generator=Learner.create(variables["params"], setup.generator_optimizer),
            batch_stats=variables.get("batch_stats", {}),
            ema_params=variables["params"] if setup.ema_decay else {},
            hand_discriminator=Learner.create(hand_params, setup.discriminator_optimizer),
            head_discriminator=Learner.create(head_params, setup.discriminator_optimizer),
            failed_step=jnp.full((), -1, jnp.int32),
        )

    return first_state(_init_network(setup.network, network_rng, bodies.queries))


def start(state: TrainState, weights: str) -> TrainState:
    """The state of a fresh run: `state` itself, or with trained weights in it.

    Args:
        state: before the first update.
        weights: the config field `init_from`: shipped weights by name, an exported folder, the
            workdir of a run, or "" for none.

    Raises:
        FileNotFoundError: no such weights.
        UserError: the weights belong to another network.
    """
    if not weights:
        return state
    variables, _ = npz_weights.load_weights(shipped.weights_folder(weights))
    state, others = start_from(state, variables)
    lacks = f"all weights but {len(others)}, such as {others[0]}" if others else "all weights"
    print(f"starts from {weights}: {lacks}")
    return state


def start_from(state: TrainState, weights: Mapping[str, Any]) -> tuple[TrainState, list[str]]:
    """Replaces random weights by trained ones of the same name.

    Args:
        state: before the first update.
        weights: from `npz_weights.load_weights`. Names that the network lacks are ignored.

    Returns:
        The state, and the names that `weights` lacks: these stay as they are.

    Raises:
        UserError: a weight has another shape, or no name matches.
    """
    current = {"params": state.generator.params, "batch_stats": state.batch_stats}
    own: dict[str, Any] = traverse_util.flatten_dict(current, sep="/")
    given: dict[str, Any] = traverse_util.flatten_dict(weights, sep="/")
    common = [name for name in own if name in given]
    if not common:
        raise UserError("init_from: these weights belong to another network, no name matches")
    for name in common:
        if np.shape(given[name]) != own[name].shape:
            raise UserError(
                f"init_from: {name} has shape {np.shape(given[name])} in the file and "
                f"{own[name].shape} in this network"
            )
    loaded = {name: jnp.asarray(given[name], own[name].dtype) for name in common}
    if infinite := [name for name, value in loaded.items() if not jnp.isfinite(value).all()]:
        raise UserError(f"init_from: {infinite[0]} holds NaN or infinity: export the weights again")
    merged = traverse_util.unflatten_dict(own | loaded, sep="/")
    params = merged["params"]
    state = state.replace(
        generator=state.generator.replace(params=params),
        batch_stats=merged.get("batch_stats", {}),
        ema_params=params if state.ema_params else {},
    )
    return state, [name for name in own if name not in given]


def _init_network(
    network: nn.Module, rng: UInt32[Array, "2"], queries: Float[Array, "N 3"]
) -> dict[str, Any]:
    """Random variables, with a pretrained backbone if the network's configuration names one."""
    images = jnp.zeros((1, CROP_SIZE, CROP_SIZE, 3))
    init = lambda key: network.init(key, images, queries, train=False)
    if pretrained_backbones.is_random(network.config.backbone):
        return jax.jit(init)(rng)
    # Random weights of the backbone would be replaced at once, and to compile their initialization
    # takes longer than that of all others together.
    others = jax.jit(
        lambda key: {
            kind: {name: tree for name, tree in trees.items() if not name.endswith(BACKBONE)}
            for kind, trees in init(key).items()
        }
    )(rng)
    shapes = jax.eval_shape(init, rng)
    variables = {kind: {**trees, **others[kind]} for kind, trees in shapes.items()}
    return pretrained_backbones.load_backbone(variables, network.config)
