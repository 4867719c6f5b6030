"""L_vert: the vertices of the parametric meshes and of the rough meshes (paper eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def l1(prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]) -> Float[Array, "*B"]:
    """Mean absolute difference over points and coordinates, the |.|_1 of every equation in the
    paper.
    """
    return jnp.mean(jnp.abs(prediction - target), axis=(-2, -1))


def centered_l1(
    prediction: Float[Array, "*B N D"], target: Float[Array, "*B N D"]
) -> Float[Array, "*B"]:
    """`l1` after each set of points is moved to its own mean: blames the shape and not the
    position.
    """
    center = lambda points: points - jnp.mean(points, axis=-2, keepdims=True)
    return l1(center(prediction), center(target))


def vertices_loss(
    hand: Float[Array, "*B H 3"],
    head: Float[Array, "*B F 3"],
    target_hand: Float[Array, "*B H 3"],
    target_head: Float[Array, "*B F 3"],
    *,
    hand_weight: float = 3.0,
    head_weight: float = 1.0,
) -> Float[Array, "*B"]:
    """The parametric terms of paper eq. 7: l_h |V_H - V_H^|_1 + l_f |V_F* - V_F^|_1.

    Args:
        hand, head: posed hand and UNDEFORMED head, head-centerd, meters.
        target_hand, target_head: the ground truth of the same; the head undeformed too.
        hand_weight, head_weight: l_h and l_f.
    """
    return hand_weight * l1(hand, target_hand) + head_weight * l1(head, target_head)


def rough_vertices_loss(
    hand_levels: Sequence[Float[Array, "*B _ 3"]],
    head_levels: Sequence[Float[Array, "*B _ 3"]],
    target_hand_levels: Sequence[Float[Array, "*B _ 3"]],
    target_head_levels: Sequence[Float[Array, "*B _ 3"]],
    *,
    hand_weight: float = 3.0,
    head_weight: float = 1.0,
    level_weight: float = 1.0,
    also_centered: bool = False,
) -> Float[Array, "*B"]:
    """The rough-mesh terms of paper eq. 7: l_h |V_H' - V_H^|_1 + l_f |V_F' - V_F^|_1, over one or
    several resolutions.

    The paper writes the finest level only. The released code sums every level, each once in place
    and once centerd on its own mean, with a weight of 0.2 a term. (Eq. 7 prints the hand's ground
    truth beside V_F': a misprint.)

    Args:
        hand_levels, head_levels: rough meshes at the resolutions to supervise, head-centerd,
            meters.
        target_hand_levels, target_head_levels: ground truth at the same resolutions, the head
            undeformed.
        hand_weight, head_weight: l_h and l_f.
        level_weight: weight of each single term.
        also_centered: add `centered_l1` of every level.
    """

    def part(levels, target_levels):
        distances = [l1(level, target) for level, target in zip(levels, target_levels, strict=True)]
        if also_centered:
            distances += [
                centered_l1(level, target)
                for level, target in zip(levels, target_levels, strict=True)
            ]
        return level_weight * sum(distances)

    return hand_weight * part(hand_levels, target_hand_levels) + head_weight * part(
        head_levels, target_head_levels
    )
