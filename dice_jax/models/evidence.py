"""What detected landmarks tell the network: keypoints, placements of the templates, and features.

A network that is trained on renderings finds hands in photographs badly; networks for landmarks
were trained on a great many photographs. With their points in hand, DICE only has to lift them.
Nothing here has weights, and no gradient flows through it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.procrustes import procrustes
from dice_jax.models.heads import INITIAL_SCALE
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.models.template import template_in_view
from dice_jax.structs import Camera, Detections, Intrinsics

_FIRST_INNER = 17  # of the 68 landmarks; the jaw contour is no fixed point of the skin
_INNER = np.array(FACE_68[_FIRST_INNER:])
_PALM = np.array([0, 1, 5, 9, 13, 17])  # wrist and first joint of each finger: nearly rigid
_HALF = CROP_SIZE / 2
_TYPICAL_LENGTH = 0.05  # meters, from the middle of a hand or a face
_LARGEST_FEATURE = 8.0  # what is larger comes from points that are no hand or face
_SMALLEST_SCALE = 50.0  # pixels a meter
_LARGEST_OFFSET = 0.5  # meters between the middles of hand and face


class Evidence(struct.PyTreeNode):
    """Detections as the parts of a network use them; zeros and identities where nothing was found.

    Attributes:
        keypoints: 21 of the hand and 68 of the head: x, y in pixels of the crop, confidence.
        has_hand, has_face: confidence in [0, 1].
        orientations: from the templates in view to hand and face.
        offset: of the hand's template in the plane of the image, head-centered, meters.
        camera: in which the template of the head has the size and the place of the face.
        features: about 1 in size, for perceptrons; from `EvidenceNet`, its hidden features.
    """

    keypoints: Float[Array, "B 89 3"]
    has_hand: Float[Array, "B"]
    has_face: Float[Array, "B"]
    orientations: Float[Array, "B 2 3 3"]
    offset: Float[Array, "B 2"]
    camera: Camera
    features: Float[Array, "B F"]


def weigh_evidence(
    detections: Detections, intrinsics: Intrinsics, queries: Float[Array, "843 3"]
) -> Evidence:
    """Evidence for the network.

    Args:
        detections: of a batch; points that are not finite count as not seen.
        intrinsics: of the crops; an infinite focal length is one that nobody knows.
        queries: from `template_queries`.
    """
    detections, intrinsics = jax.lax.stop_gradient((detections, intrinsics))
    template = template_in_view(queries)
    hand_points, has_hand = _seen(detections.hand_points)
    face_points, has_face = _seen(detections.face_points[:, _INNER])
    world = jnp.where(has_hand[:, None, None] > 0, jnp.nan_to_num(detections.hand_world), 0.0)
    world -= world.mean(1, keepdims=True)

    hand_template = template[layout.HAND_KEYPOINTS]
    palm = jnp.concatenate([world, jnp.ones_like(world[..., :1])], axis=-1)[:, _PALM]
    _, hand_orient, _ = _similarity(hand_template[_PALM], palm, has_hand)
    face_template = template[layout.HEAD_KEYPOINTS][_FIRST_INNER:]
    face_scale, face_orient, face_place = _similarity(face_template, face_points, has_face)
    hand_scale, hand_place = _orthography(world, hand_points, has_hand)

    # The hand's keypoints about the origin of its template, in the view.
    middle = jnp.einsum("bij,j->bi", hand_orient, hand_template.mean(0))[:, :2]
    both = has_hand * has_face
    offset = (hand_place - face_place[:, :2]) / face_scale[:, None] - middle
    offset = jnp.clip(jnp.where(both[:, None] > 0, offset, 0.0), -_LARGEST_OFFSET, _LARGEST_OFFSET)
    face_shape = (face_points[..., :3] - face_place[:, None]) / face_scale[:, None, None]
    parts = (
        _part_features(hand_points, has_hand, hand_scale, world, hand_orient),
        _part_features(face_points, has_face, face_scale, face_shape, face_orient),
        10.0 * offset,
        (both * 5.0 * jnp.log(hand_scale / face_scale))[:, None],
        _camera_features(intrinsics),
    )
    features = jnp.concatenate(parts, axis=-1)
    return Evidence(
        keypoints=_keypoints(hand_points, face_points),
        has_hand=has_hand,
        has_face=has_face,
        orientations=jnp.stack([hand_orient, face_orient], axis=1),
        offset=offset,
        camera=Camera(face_scale, jnp.where(has_face[:, None] > 0, face_place[:, :2], _HALF)),
        features=jnp.clip(features, -_LARGEST_FEATURE, _LARGEST_FEATURE),
    )


class EvidenceNet(nn.Module):
    """`weigh_evidence`, and a perceptron on its features: for placement, IKNets and heads."""

    hidden: int

    @nn.compact
    def __call__(
        self, detections: Detections, intrinsics: Intrinsics, queries: Float[Array, "843 3"]
    ) -> Evidence:
        evidence = weigh_evidence(detections, intrinsics, queries)
        features = evidence.features
        for i in range(2):
            dense = nn.Dense(self.hidden, kernel_init=torch_linear, name=f"hidden_{i}")
            features = nn.relu(dense(features))
        return evidence.replace(features=features)


def _seen(points: Float[Array, "B N 4"]) -> tuple[Float[Array, "B N 4"], Float[Array, "B"]]:
    """Points with zeros where they are not seen, and the mean confidence of those that are."""
    seen = jnp.isfinite(points).all(-1) & (points[..., 3] > 0)
    points = jnp.where(seen[..., None], points, 0.0)
    # Too few points do not fix a pose.
    enough = seen.mean(-1) > 0.5
    points = jnp.where(enough[:, None, None], points, 0.0)
    return points, jnp.clip(points[..., 3].sum(-1) / jnp.maximum(seen.sum(-1), 1), 0.0, 1.0)


def _similarity(template, points, confidence):
    """Scale, rotation and place of the template's origin; neutral where nothing is seen."""
    there = confidence > 0
    neutral = jnp.broadcast_to(template, (*points.shape[:-1], 3))
    weights = jnp.where(there[:, None], points[..., 3], 1.0)
    points = jnp.where(there[:, None, None], points[..., :3], neutral)
    scale, rotation, place = procrustes(neutral, points, weights)
    scale = jnp.where(there, jnp.maximum(scale, 1e-3), INITIAL_SCALE)
    return scale, rotation, jnp.where(there[:, None], place, 0.0)


def _orthography(world, points, confidence):
    """Pixels a meter, and the pixel of the origin: the camera that projects the metric points."""
    weights = points[..., 3:] / jnp.maximum(points[..., 3:].sum(1, keepdims=True), 1e-6)
    world_mean, mean = (weights * world[..., :2]).sum(1), (weights * points[..., :2]).sum(1)
    centered = world[..., :2] - world_mean[:, None]
    along = (weights * centered * (points[..., :2] - mean[:, None])).sum((1, 2))
    length = (weights * centered**2).sum((1, 2))
    scale = along / jnp.where(length > 0, length, 1.0)
    scale = jnp.where(confidence > 0, jnp.maximum(scale, _SMALLEST_SCALE), INITIAL_SCALE)
    return scale, mean - scale[:, None] * world_mean


def _keypoints(hand_points, face_points):
    contour = jnp.zeros((hand_points.shape[0], _FIRST_INNER, 3))
    pick = lambda points: points[..., jnp.array([0, 1, 3])]
    return jnp.concatenate([pick(hand_points), contour, pick(face_points)], axis=1)


def _part_features(points, confidence, scale, shape, orient):
    """Of one part: where it is, how large, how it is turned, and its shape when turned back."""
    there = (confidence > 0)[:, None, None]
    in_crop = jnp.where(points[..., 3:] > 0, points[..., :2] / _HALF - 1.0, 0.0)
    depth = points[..., 2:3] / _HALF
    at_rest = jnp.where(there, jnp.einsum("bji,bnj->bni", orient, shape) / _TYPICAL_LENGTH, 0.0)
    parts = (in_crop, depth, points[..., 3:], at_rest, jnp.where(there, orient, 0.0))
    flat = [part.reshape(points.shape[0], -1) for part in parts]
    size = (confidence > 0) * jnp.log(scale / INITIAL_SCALE)
    return jnp.concatenate([*flat, confidence[:, None], size[:, None]], axis=-1)


def _camera_features(intrinsics: Intrinsics):
    """Half the field of view and the direction of the crop; zeros where they are not known."""
    wide = _HALF / intrinsics.focal_length
    aside = (_HALF - intrinsics.camera_center) / intrinsics.focal_length[:, None]
    known = jnp.isfinite(intrinsics.focal_length)
    aside = jnp.where(known[:, None] & jnp.isfinite(aside), aside, 0.0)
    return 4.0 * jnp.concatenate([jnp.where(known, wide, 0.0)[:, None], aside], axis=-1)
