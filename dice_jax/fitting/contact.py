"""Where fitted meshes touch, and how the skin gives way: read off their geometry."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.hierarchy import downsample, upsample
from dice_jax.body_models.lbs import BodyModel
from dice_jax.geometry.mesh import gather_faces, vertex_normals
from dice_jax.geometry.nearest import closest_point_on_mesh, safe_norm

CONTACT_DISTANCE = 0.004  # meters, as in the labels of the scenes
TOUCHING = 0.008  # meters: a gap that the fit may leave between a hand and a head that touch
_SOFTNESS = 0.001  # meters over which the probability falls from 0.73 to 0.27
_NEAR, _NEAR_FACES = 512, 1024  # of the head: vertices and faces that may touch, the nearest ones
_LARGEST = 0.025  # meters; skin does not give way farther
_SPREAD = 0.006  # meters: width of the dent around the skin that the hand pushes


class SkinContact(NamedTuple):
    """Contact and deformation of one hand and one head.

    Attributes:
        hand_probs, head_probs: probability that each vertex touches.
        deformations: of the head, meters, to be subtracted from its vertices.
        gap: smallest distance between the hand and the undeformed skin, meters; negative where the
            hand pushes the skin in.
    """

    hand_probs: Float[Array, "778"]
    head_probs: Float[Array, "5023"]
    deformations: Float[Array, "5023 3"]
    gap: Float[Array, ""]


def skin_contact(
    hand_vertices: Float[Array, "778 3"],
    head_vertices: Float[Array, "5023 3"],
    hand_model: BodyModel,
    head_model: BodyModel,
    touches: Float[Array, ""],
) -> SkinContact:
    """Contact and deformation of a posed hand and head; for a batch, `vmap` it.

    Args:
        hand_vertices, head_vertices: meters, in one frame; the head is not deformed.
        hand_model, head_model: body models.
        touches: probability that they touch; contact probabilities are at most that, and skin gives
            way where it is above one half.
    """
    skin = ~head_model.cavity
    coarse = downsample(hand_model.hierarchy, hand_vertices, 1)
    to_hand = ((head_vertices[:, None] - coarse[None]) ** 2).sum(-1).min(1)
    _, near = jax.lax.top_k(jnp.where(skin, -to_hand, -jnp.inf), _NEAR)

    # The skin inside the hand moves to the hand's surface, the skin around it follows.
    points = head_vertices[near]
    foot, face_ids, barycentrics, distance = closest_point_on_mesh(
        points, hand_vertices, hand_model.faces
    )
    normals = vertex_normals(hand_vertices, hand_model.closed_faces)
    corners = gather_faces(normals, hand_model.faces)[face_ids]
    outward = (corners * barycentrics[..., None]).sum(-2)
    inside = (((points - foot) * outward).sum(-1) < 0.0) & (distance < _LARGEST)
    pushed = jnp.where(inside[:, None], points - foot, 0.0)
    moved = _spread(points, pushed, inside)
    moved = jnp.where(touches > 0.5, moved, 0.0)
    deformations = jnp.zeros_like(head_vertices).at[near].set(moved)

    # Distances between the hand and the deformed skin.
    signed = jnp.where(inside, -distance, distance)
    after = jnp.where(inside, 0.0, distance)
    surface = skin[head_model.faces].all(-1)
    to_face = to_hand[head_model.faces].min(-1)
    _, near_faces = jax.lax.top_k(jnp.where(surface, -to_face, -jnp.inf), _NEAR_FACES)
    *_, to_skin = closest_point_on_mesh(
        coarse, head_vertices - deformations, head_model.faces[near_faces]
    )
    to_skin = upsample(hand_model.hierarchy, to_skin[:, None], 1)[:, 0]
    gap = jnp.minimum(signed.min(), to_skin.min())
    # A hand that touches, but was fitted a few millimeters off, touches where it is nearest.
    off = jnp.where(touches > 0.5, jnp.clip(gap, 0.0, TOUCHING), 0.0)
    hand_probs = _probability(to_skin - off) * touches
    near_probs = _probability(after - off) * touches
    head_probs = jnp.zeros(len(head_vertices)).at[near].set(near_probs)
    return SkinContact(hand_probs, head_probs, deformations, gap)


def _probability(distance):
    return jax.nn.sigmoid((CONTACT_DISTANCE - distance) / _SOFTNESS)


def _spread(
    points: Float[Array, "N 3"], pushed: Float[Array, "N 3"], inside: Bool[Array, "N"]
) -> Float[Array, "N 3"]:
    """Lets the skin around follow: each point by the largest of the Gaussians around `inside`."""
    length = safe_norm(pushed)
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)
    share = jnp.exp(-squared / (2.0 * _SPREAD**2)) * length[None]
    source = jnp.argmax(share, axis=1)
    followed = jnp.take_along_axis(share, source[:, None], axis=1)
    direction = pushed[source] / jnp.maximum(length[source], 1e-9)[:, None]
    return jnp.where(inside[:, None], pushed, followed * direction)
