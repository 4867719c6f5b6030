"""Everything that changes during training, as one pytree."""

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
        """Starts the optimizer at `params`."""
        return cls(params, optimizer.init(params))

    def update(self, grads: PyTree, optimizer: optax.GradientTransformation) -> Learner:
        """One step of `optimizer` with the gradients `grads`."""
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
        return Learner(optax.apply_updates(self.params, updates), opt_state)


class TrainState(struct.PyTreeNode):
    """The content of a checkpoint, which together with the configuration determines all updates.

    Attributes:
        step: number of finished updates. The data loader needs nothing else to resume.
        rng: key of the run, from which each update derives its own.
        generator: the network of the paper.
        batch_stats: running statistics of its batch norm.
        ema_params: moving average of the generator's weights, or an empty dict if it is off.
        hand_discriminator, head_discriminator: their weights and optimizers.
        failed_step: -1, or the first update whose loss or gradient was not finite. From then on
            the state stays constant, so that this update can be replayed.
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
        """The variables for inference: the averaged weights if there is an average."""
        return {"params": self.ema_params or self.generator.params, "batch_stats": self.batch_stats}


def update_average(average: PyTree, params: PyTree, step: Int[Array, ""], decay: float) -> PyTree:
    """Exponential moving average of the weights.

    The decay of update t is at most (1 + t) / (10 + t), so that random weights are soon forgotten.

    Args:
        average: the average so far, or an empty dict, which stays empty.
        params: the latest weights.
        step: number of finished updates before this one.
        decay: share of the old average that is kept in the long run.
    """
    if not average:
        return average
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: kept * old + (1.0 - kept) * new, average, params)


def select(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """`new` if the condition holds, else `old`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
