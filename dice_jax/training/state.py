"""Everything that changes while training, as one pytree."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Bool, Int, PyTree, UInt32

from dice_jax.array_types import Array


class Learner(struct.PyTreeNode):
    """The weights of one network and the state of its optimizer."""

    params: PyTree
    opt_state: optax.OptState

    @classmethod
    def create(cls, params: PyTree, optimizer: optax.GradientTransformation) -> Learner:
        return cls(params, optimizer.init(params))

    def update(self, grads: PyTree, optimizer: optax.GradientTransformation) -> Learner:
        """One step of `optimizer` down `grads`."""
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
        return Learner(optax.apply_updates(self.params, updates), opt_state)


class TrainState(struct.PyTreeNode):
    """What a checkpoint holds; with the configuration it decides every later step.

    `step` counts finished updates, and the data loader needs no more than that to go on.
    `ema_params` is the moving average of the generator's weights, an empty dict where it is off.
    `failed_step` is -1 until a loss or a gradient is not finite; from then on the state stands
    still, so that the update can be replayed.
    """

    step: Int[Array, ""]
    rng: UInt32[Array, "2"]
    generator: Learner
    batch_stats: PyTree
    ema_params: PyTree
    hand_discriminator: Learner
    head_discriminator: Learner
    failed_step: Int[Array, ""]

    def weights(self) -> dict[str, Any]:
        """Variables for inference: the averaged weights where there are any."""
        return {"params": self.ema_params or self.generator.params, "batch_stats": self.batch_stats}


def update_average(average: PyTree, params: PyTree, step: Int[Array, ""], decay: float) -> PyTree:
    """Exponential moving average of the weights; the first steps forget faster, so that the start
    is not remembered.

    Args:
        average: the average so far, or an empty dict, which stays empty.
        params: the newest weights.
        step: finished updates before this one.
        decay: share of the old average that is kept in the long run.
    """
    if not average:
        return average
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, average, params)


def select(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """`new` where the condition holds, else `old`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
