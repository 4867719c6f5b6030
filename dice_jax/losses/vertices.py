"""L_vert: the vertices of the parametric meshes and of the rough meshes (paper eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array

# l_h and l_f of eq. 7.
HAND_WEIGHT = 3.0
HEAD_WEIGHT = 1.0


def l1(prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]) -> Float[Array, "*B"]:
    """Mean absolute difference over points and coordinates: the paper's |.|_1."""
    return jnp.mean(jnp.abs(prediction - target), axis=(-2, -1))


def centered_l1(
    prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]
) -> Float[Array, "*B"]:
    """`l1` after each set of points is centered on its own mean: penalizes shape, not position."""
    center = lambda points: points - jnp.mean(points, axis=-2, keepdims=True)
    return l1(center(prediction), center(target))


def vertices_loss(
    hand: Float[Array, "*B H 3"],
    head: Float[Array, "*B F 3"],
    target_hand: Float[Array, "*B H 3"],
    target_head: Float[Array, "*B F 3"],
) -> Float[Array, "*B"]:
    """The parametric terms of paper eq. 7: l_h |V_H - V_H^|_1 + l_f |V_F* - V_F^|_1.

    Args:
        hand, head: posed hand and UNDEFORMED head, head-centered, meters.
        target_hand, target_head: their ground truth; the head undeformed too.
    """
    return HAND_WEIGHT * l1(hand, target_hand) + HEAD_WEIGHT * l1(head, target_head)


def rough_vertices_loss(
    hand_levels: Sequence[Float[Array, "*B _ 3"]],
    head_levels: Sequence[Float[Array, "*B _ 3"]],
    target_hand_levels: Sequence[Float[Array, "*B _ 3"]],
    target_head_levels: Sequence[Float[Array, "*B _ 3"]],
    *,
    level_weight: float = 1.0,
    also_centered: bool = False,
) -> Float[Array, "*B"]:
    """The rough-mesh terms of paper eq. 7: l_h |V_H' - V_H^|_1 + l_f |V_F' - V_F^|_1.

    The paper writes the finest level only. The released code sums every level twice, once in place
    and once centered on its own mean, each with weight 0.2. (Eq. 7 pairs V_F' with the ground
    truth of the hand, which is a misprint.)

    Args:
        hand_levels, head_levels: rough meshes at the resolutions to supervise, head-centered,
            meters.
        target_hand_levels, target_head_levels: ground truth at the same resolutions, the head
            undeformed.
        level_weight: weight of each level's distance.
        also_centered: add `centered_l1` of every level.
    """
    distances = (l1, centered_l1) if also_centered else (l1,)

    def over_levels(levels, target_levels):
        pairs = list(zip(levels, target_levels, strict=True))
        terms = (distance(*pair) for distance in distances for pair in pairs)
        return level_weight * sum(terms, start=jnp.zeros(()))

    hand = over_levels(hand_levels, target_hand_levels)
    head = over_levels(head_levels, target_head_levels)
    return HAND_WEIGHT * hand + HEAD_WEIGHT * head
