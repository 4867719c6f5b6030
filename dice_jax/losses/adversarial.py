"""L_adv: parameters should look like those of real hands and faces (paper sec. 3.3).

All functions take LOGITS x of the discriminator, D = sigmoid(x): log(1 - D) = -softplus(x), log D =
-softplus(-x).
"""

from __future__ import annotations

import jax
from jaxtyping import Float

from dice_jax.array_types import Array


def adversarial_loss(
    fake_logits: Float[Array, "*B"], *, non_saturating: bool = True
) -> Float[Array, "*B"]:
    """What the network pays for parameters that one discriminator calls fake, per sample.

    Args:
        fake_logits: the discriminator's logits of the predicted parameters.
        non_saturating: -log D (released code); else the paper's log(1 - D), which is negative and
            whose gradient vanishes exactly where the discriminator is sure of the fake.
    """
    if non_saturating:
        return jax.nn.softplus(-fake_logits)
    return -jax.nn.softplus(fake_logits)


def real_loss(real_logits: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """-log D(real), per sample: the first half of a discriminator's loss -(log D(real) + log(1 -
    D(fake))).
    """
    return jax.nn.softplus(-real_logits)


def fake_loss(fake_logits: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """-log(1 - D(fake)), per sample: the second half. Apart from the first, as real and fake
    samples differ in number.
    """
    return jax.nn.softplus(fake_logits)
