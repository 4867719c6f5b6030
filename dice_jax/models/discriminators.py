"""Discriminators of hand and head parameters: priors of shape and pose (paper sec. 3.2)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.structs import HandParams, HeadParams

HIDDEN = (256, 64)


class HandDiscriminator(nn.Module):
    """Logit that a hand's pose and shape are real."""

    @nn.compact
    def __call__(self, params: HandParams) -> Float[Array, "*B"]:
        return _perceptron(jnp.concatenate([params.hand_pose, params.betas], -1))


class HeadDiscriminator(nn.Module):
    """Logit that a head's pose, expression and shape are real.

    Attributes:
        with_neck: the pose is that of neck and jaw (paper); otherwise of the jaw (released code).
    """

    with_neck: bool = True

    @nn.compact
    def __call__(self, params: HeadParams) -> Float[Array, "*B"]:
        pose = (params.neck_pose, params.jaw_pose) if self.with_neck else (params.jaw_pose,)
        return _perceptron(jnp.concatenate([*pose, params.expression, params.betas], -1))


def _perceptron(x):
    for i, width in enumerate((*HIDDEN, 1)):
        x = nn.relu(x) if i else x
        x = nn.Dense(width, kernel_init=torch_linear, name=f"layer_{i}")(x)
    return x[..., 0]
