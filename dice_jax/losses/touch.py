"""L_touch and L_collision: contact regions meet, and the hand stays outside the head."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry.nearest import nearest_neighbors
from dice_jax.geometry.sdf import inside

CONTACT_THRESHOLD = 0.5


def touch_loss(
    hand_vertices: Float[Array, "*B H 3"],
    head_vertices: Float[Array, "*B F 3"],
    hand_contact_probs: Float[Array, "*B H"],
    head_contact_probs: Float[Array, "*B F"],
    *,
    squared: bool = False,
) -> Float[Array, "*B"]:
    """L_touch = CD(F_c, H_c) + CD(H_c, F_c): attracts the predicted contact regions (sec. 3.3).

    F_c and H_c are the vertices whose predicted contact probability exceeds 0.5. The threshold is
    hard: the gradient moves vertices and never changes the probabilities.

    Args:
        hand_vertices, head_vertices: meters, in one frame. The head deformed (paper) or not
            (released code).
        hand_contact_probs, head_contact_probs: predicted; 0 for vertices that can never touch.
        squared: average squared distances (m^2, released code) instead of distances (m, paper).

    Returns:
        Sum over both directions of the mean distance from one region to its nearest vertex in the
        other; 0 if a region is empty.
    """

    def chamfer(query, query_mask, points, points_mask):
        distances, _ = nearest_neighbors(query, points, points_mask)
        # Without any point the distance is infinite.
        counted = query_mask & points_mask.any(-1, keepdims=True)
        distances = jnp.where(counted, distances, 0.0)
        return _masked_mean(distances**2 if squared else distances, counted)

    hand = hand_vertices, hand_contact_probs > CONTACT_THRESHOLD
    head = head_vertices, head_contact_probs > CONTACT_THRESHOLD
    return chamfer(*head, *hand) + chamfer(*hand, *head)


def collision_loss(
    hand_vertices: Float[Array, "*B H 3"],
    deformed_head_vertices: Float[Array, "*B F 3"],
    closed_head_faces: Int[Array, "_ 3"],
    can_be_touched: Bool[Array, "F"] | None = None,
    *,
    over_colliding: bool = False,
    squared: bool = False,
) -> Float[Array, "*B"]:
    """L_collision = CD(hand vertices inside the head, deformed head vertices) (sec. 3.3).

    The paper's mean over the colliding vertices rises where a shallow one leaves the head, since
    the deeper ones remain. By default the sum is therefore divided by a constant.

    Args:
        hand_vertices: meters.
        deformed_head_vertices: meters, same frame.
        closed_head_faces: the head's triangles with the neck closed, so that an inside exists.
        can_be_touched: head vertices that count as surface (without mouth cavity and eye sockets);
            None for all.
        over_colliding: average over the hand vertices inside the head (paper); otherwise divide
            the sum by the number of HEAD vertices, as in the released code.
        squared: of squared distances (m^2, released code).

    Returns:
        Average distance, meters, from the hand vertices inside the head to the nearest head vertex;
        0 if none is inside. Which vertices are inside is decided without gradient.
    """
    fixed_hand, fixed_head = jax.lax.stop_gradient((hand_vertices, deformed_head_vertices))
    collides = inside(fixed_hand, fixed_head, closed_head_faces)
    valid, head_count = None, deformed_head_vertices.shape[-2]
    if can_be_touched is not None:
        valid = jnp.broadcast_to(can_be_touched, deformed_head_vertices.shape[:-1])
    distances, _ = nearest_neighbors(hand_vertices, deformed_head_vertices, valid)
    distances = distances**2 if squared else distances
    if over_colliding:
        return _masked_mean(distances, collides)
    return jnp.sum(jnp.where(collides, distances, 0.0), axis=-1) / head_count


def _masked_mean(values: Float[Array, "*B N"], mask: Bool[Array, "*B N"]) -> Float[Array, "*B"]:
    """Mean over the last axis where `mask` holds; 0 where it holds nowhere."""
    return jnp.sum(jnp.where(mask, values, 0.0), axis=-1) / jnp.maximum(jnp.sum(mask, axis=-1), 1)
