"""The hand meets the head: it does not go through the skin, and touches where it should."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.fitting.hand_evidence import HandEvidence, HeadSurface
from dice_jax.fitting.hand_points import HandPoints, HandUnknowns
from dice_jax.fitting.levenberg_marquardt import robust
from dice_jax.structs import HandParams

_FAR = 1.0  # meters: where no surface of the head is near
_SOFT_MINIMUM = 0.003  # meters
_NEAR = 1024  # vertices of the head that a hand may meet


@dataclasses.dataclass(frozen=True)
class ContactConfig:
    """Standard deviations, meters.

    Attributes:
        overlap: of a vertex inside the head beyond what its skin gives way.
        touch: of the distance between surfaces that touch.
        gap: of the smallest distance between a hand and a head that touch.
        far_off, deep, share_inside: a hand that should touch and is `far_off` from the skin, or one
            that has a `share_inside` of its vertices `deep` below it, starts anew from the visible
            surface of the head.
        hidden, share_hidden, slightly: so does a hand with a `share_hidden` of its detected
            keypoints `hidden` behind that surface, because the detector saw them; unless the hand
            is more than `slightly` behind it. Then the detector rather guessed them.
        apart, beside: distance from the skin, and from the head in the image, from which a hand
            that was only fitted to its detections is not believed to touch; over `doubt` of that
            distance the probability falls from 0.73 to 0.27.
    """

    overlap: float = 0.003
    touch: float = 0.006
    gap: float = 0.008
    far_off: float = 0.03
    deep: float = 0.01
    share_inside: float = 0.25
    hidden: float = 0.015
    share_hidden: float = 0.12
    slightly: float = 0.055
    apart: float = 0.1
    beside: float = 0.012
    doubt: float = 0.15


class Pairs(struct.PyTreeNode):
    """What each coarse vertex of the hand is compared with until the next search.

    Attributes:
        foot, normal: nearest vertex of the skin and its normal.
        give: how far the skin may give way there.
        target: nearest vertex of the skin that is claimed to be touched.
        pull: weight of the contact.
    """

    foot: Float[Array, "N 3"]
    normal: Float[Array, "N 3"]
    give: Float[Array, "N"]
    target: Float[Array, "N 3"]
    pull: Float[Array, "N"]


def near_surface(keypoints: Float[Array, "21 3"], head: HeadSurface) -> HeadSurface:
    """The `_NEAR` vertices of the skin that are nearest to any keypoint of the hand."""
    squared = ((head.vertices[:, None] - keypoints[None]) ** 2).sum(-1).min(1)
    _, near = jax.lax.top_k(jnp.where(head.outside, -squared, -jnp.inf), _NEAR)
    return jax.tree.map(lambda x: x[near], head)


def search_pairs(vertices: Float[Array, "N 3"], head: HeadSurface, evidence: HandEvidence) -> Pairs:
    """The nearest points of the skin to the vertices of the hand; constants for the solver."""
    vertices = jax.lax.stop_gradient(vertices)
    squared = ((vertices[:, None] - head.vertices[None]) ** 2).sum(-1)
    squared = jnp.where(head.outside[None], squared, _FAR**2)
    nearest = jnp.argmin(squared, axis=1)
    # Vertices that the network claims are preferred by up to 3 cm.
    claimed = squared + ((1.0 - head.contact) * 0.03**2)[None]
    target = jnp.argmin(claimed, axis=1)
    pull = jnp.where(evidence.contact > 0.3, evidence.contact, 0.0)
    return Pairs(
        foot=head.vertices[nearest],
        normal=head.normals[nearest],
        give=head.give[nearest],
        target=head.vertices[target],
        pull=pull,
    )


def _front(vertices, head, evidence):
    """Depth of the head's nearest surface on the ray of each vertex; `_FAR` where it misses."""
    radius = 0.006 * evidence.camera.scale  # pixels: about the spacing of the head's vertices
    pixels, of_head = (evidence.project(x) for x in (vertices, head.vertices))
    distance = ((pixels[:, None] - of_head[None]) ** 2).sum(-1)
    over = (distance < radius**2) & head.outside[None]
    return jnp.where(over, head.vertices[None, :, 2], _FAR).min(1)


def doubt_contact(
    unknowns: HandUnknowns,
    hand: HandPoints,
    head: HeadSurface,
    evidence: HandEvidence,
    origin: HandParams,
    config: ContactConfig,
) -> HandEvidence:
    """The evidence with a lower probability of contact where a hand is far from the head."""
    vertices, _, _ = hand.pose(unknowns.params(origin))
    squared = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(-1)
    nearest = lambda x: jnp.sqrt(jnp.where(head.outside[None], x, _FAR**2).min())
    pixels, of_head = (evidence.project(x) for x in (vertices, head.vertices))
    apart = nearest(squared(vertices, head.vertices))
    beside = nearest(squared(pixels, of_head) / evidence.camera.scale**2)
    believed = lambda distance, limit: jax.nn.sigmoid(2.0 * (1.0 - distance / limit) / config.doubt)
    share = believed(apart, config.apart) * believed(beside, config.beside)
    return evidence.replace(touches=evidence.touches * share)


def bring_into_contact(
    unknowns: HandUnknowns,
    hand: HandPoints,
    head: HeadSurface,
    evidence: HandEvidence,
    origin: HandParams,
    config: ContactConfig,
) -> HandUnknowns:
    """Moves a hand that is far off, inside the head or behind it along the line of sight.

    It goes to where the first of its vertices meets the visible surface of the head. From there
    Levenberg-Marquardt can go on, which sees nearest points only.
    """
    vertices, _, detector = hand.pose(unknowns.params(origin))
    pairs = search_pairs(vertices, head, evidence)
    distance = jnp.sqrt(((vertices - pairs.foot) ** 2).sum(-1))
    inside = ((vertices - pairs.foot) * pairs.normal).sum(-1) < -config.deep
    far_off = jnp.where(evidence.touches > 0.5, distance.min() > config.far_off, False)
    gap = _front(vertices, head, evidence) - vertices[:, 2]  # positive: in front of the head
    over = gap < 0.5 * _FAR
    first = jnp.where(over.any(), jnp.where(over, gap, _FAR).min(), 0.0)
    confidence = evidence.points[:, 3]
    behind = detector[:, 2] - _front(detector, head, evidence) > config.hidden
    hidden = (confidence * behind).sum() > config.share_hidden * confidence.sum()
    hidden = hidden & (first > -config.slightly)
    lost = (far_off | hidden | (inside.mean() > config.share_inside)) & head.outside.any()
    shift = jnp.where(lost, first, 0.0)
    return unknowns.moved_away(shift)


def contact_residuals(
    vertices: Float[Array, "N 3"],
    pairs: Pairs,
    head: HeadSurface,
    evidence: HandEvidence,
    config: ContactConfig,
) -> Float[Array, "R"]:
    """No overlap beyond what the skin gives way, and touch where the network claims it."""
    outside = ((vertices - pairs.foot) * pairs.normal).sum(-1)
    overlap = jax.nn.relu(-(outside + pairs.give)) / config.overlap
    pull = jnp.sqrt(pairs.pull * evidence.touches)[:, None]
    touch = 0.5 * pull * robust((vertices - pairs.target) / config.touch, 4.0)
    # The nearest vertices, as a smooth minimum.
    nearest = (jax.nn.softmax(-jnp.abs(outside) / _SOFT_MINIMUM) * outside).sum()[None]
    gap = evidence.touches * jax.nn.relu(nearest) / config.gap
    # Without a head there is nothing to touch.
    return jnp.where(head.outside.any(), jnp.concatenate([overlap, touch.ravel(), gap]), 0.0)
