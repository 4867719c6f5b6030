"""L_adv: predicted parameters should look like those of real hands and heads (paper sec. 3.3).

Every function takes LOGITS x of a discriminator D = sigmoid(x), since log D = -softplus(-x) and
log(1 - D) = -softplus(x) are stable for any x.
"""

from __future__ import annotations

import jax
from jaxtyping import Float

from dice_jax.array_types import Array


def adversarial_loss(
    fake_logits: Float[Array, "*B"], *, non_saturating: bool = True
) -> Float[Array, "*B"]:
    """The network's loss against one discriminator, per sample.

    Args:
        fake_logits: the discriminator's logits of the predicted parameters.
        non_saturating: -log D (released code). Otherwise log(1 - D) (paper), which is negative and
            whose gradient vanishes where the discriminator is certain that the sample is fake.
    """
    if non_saturating:
        return jax.nn.softplus(-fake_logits)
    return -jax.nn.softplus(fake_logits)


def real_loss(real_logits: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The discriminator's loss of real samples, -log D, per sample."""
    return jax.nn.softplus(-real_logits)


def fake_loss(fake_logits: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The discriminator's loss of predicted samples, -log(1 - D), per sample.

    Separate from `real_loss`, because a batch may hold different numbers of real and fake samples.
    """
    return jax.nn.softplus(fake_logits)
