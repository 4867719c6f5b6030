"""AdamW with the paper's settings, learning rate schedules and gradient clipping."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from dice_jax.errors import UserError

BACKBONE = "backbone"  # how the names of backbones end; FastMETRO* has two


def learning_rate(config: ConfigDict, total_steps: int) -> optax.Schedule:
    """Linear warm-up, then a schedule.

    Args:
        config: the config section `optimizer` (`learning_rate`, `warmup_steps`, `schedule`). The
            schedule is "constant", "step" (a tenth from half-way on, as in the authors' code) or
            "cosine" (to zero).
        total_steps: length of the run.

    Raises:
        UserError: an unknown schedule.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    after = max(total_steps - warmup, 1)
    schedules = {
        "constant": lambda: optax.constant_schedule(peak),
        "step": lambda: optax.piecewise_constant_schedule(peak, {total_steps // 2 - warmup: 0.1}),
        "cosine": lambda: optax.cosine_decay_schedule(peak, after),
    }
    if config.schedule not in schedules:
        raise UserError(
            f"optimizer.schedule is '{config.schedule}', choose one of {', '.join(schedules)}"
        )
    # Starts at one step's share, not at zero, so that the first update already has an effect.
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, schedules[config.schedule]()], [warmup])


def generator_optimizer(config: ConfigDict, total_steps: int) -> optax.GradientTransformation:
    """AdamW with clipping and a schedule, and with a separate rate for the pretrained backbone.

    Args:
        config: the config section `optimizer`.
        total_steps: length of the run.

    Raises:
        UserError: an unknown schedule.
    """
    rate = learning_rate(config, total_steps)
    return _skip_zero_gradients(
        optax.chain(
            _clip(config),
            optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=decays),
            optax.masked(optax.scale(config.backbone_learning_rate_scale), _in_backbone),
        )
    )


def discriminator_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW with a constant rate for a discriminator, as in the authors' code."""
    rate = config.discriminator_learning_rate
    return optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=decays)


def decays(params: PyTree) -> PyTree:
    """Which weights decay: matrices and kernels, but not biases or scales of norms."""
    return jax.tree.map(lambda x: x.ndim > 1, params)


def _in_backbone(params: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key.endswith(BACKBONE), params)


def _clip(config: ConfigDict) -> optax.GradientTransformation:
    by_value = optax.clip(config.clip_by_value) if config.clip_by_value else optax.identity()
    by_norm = (
        optax.clip_by_global_norm(config.clip_by_global_norm)
        if config.clip_by_global_norm
        else optax.identity()
    )
    return optax.chain(by_value, by_norm)


def _skip_zero_gradients(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Keeps frozen weights, whose gradient is zero everywhere, from weight decay and momentum."""

    def update(updates: PyTree, state: optax.OptState, params: PyTree = None):
        steps, state = inner.update(updates, state, params)
        skip = lambda step, grad: jnp.where(jnp.any(grad != 0), step, 0)
        return jax.tree.map(skip, steps, updates), state

    return optax.GradientTransformation(inner.init, update)
