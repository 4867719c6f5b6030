"""L_contact and L_presence: which vertices touch, and whether any does."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def binary_cross_entropy(
    logits: Float[Array, "*B N"], labels: Float[Array, "*B N"], *, positive_weight: float = 1.0
) -> Float[Array, "*B"]:
    """Mean over the last axis of -(w y log p + (1 - y) log(1 - p)), stable for any logit.

    Args:
        logits: log p / (1 - p).
        labels: y, 0 or 1 (or a probability).
        positive_weight: w, the weight of a touching vertex relative to one that does not touch.
    """
    # log p = -softplus(-x), log(1 - p) = -softplus(x): without a clamp on p, the gradient of a
    # confident mistake does not vanish.
    positive = positive_weight * labels * jax.nn.softplus(-logits)
    return jnp.mean(positive + (1.0 - labels) * jax.nn.softplus(logits), axis=-1)


def contact_loss(
    logits_levels: Sequence[Float[Array, "*B _"]],
    labels_levels: Sequence[Float[Array, "*B _"]],
    *,
    positive_weight: float = 1.0,
) -> Float[Array, "*B"]:
    """L_contact = BCE(C_H) + BCE(C_F) (paper sec. 3.3).

    Args:
        logits_levels: contact logits of each mesh to supervise: the full hand and head in the
            paper, all five resolutions in the released code.
        labels_levels: labels of the same vertices, 0 or 1.
        positive_weight: see `binary_cross_entropy`.

    Returns:
        Sum over the meshes of their mean cross-entropies.
    """
    entropies = (
        binary_cross_entropy(logits, labels, positive_weight=positive_weight)
        for logits, labels in zip(logits_levels, labels_levels, strict=True)
    )
    return sum(entropies, start=jnp.zeros(()))


def presence_loss(
    presence_logit: Float[Array, "*B"],
    hand_contact: Float[Array, "*B H"],
    head_contact: Float[Array, "*B F"],
) -> Float[Array, "*B"]:
    """L_presence: cross-entropy of "anything touches in this image" (released code only).

    Args:
        presence_logit: predicted, one per image.
        hand_contact, head_contact: labels of the vertices; the label of the image is their maximum.
    """
    label = jnp.maximum(jnp.max(hand_contact, axis=-1), jnp.max(head_contact, axis=-1))
    return binary_cross_entropy(presence_logit[..., None], label[..., None])
