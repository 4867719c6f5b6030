"""What a training sample tells the network of landmarks: the truth with errors, or the detectors'.

The network has to trust good evidence and to survive bad: points are noisy, hands and faces are
missing, and now and then a hand is somewhere else altogether. Which of it a sample gets depends on
the step and on its index in the batch of all devices alone.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import NUM_FACE_POINTS, NUM_HAND_KEYPOINTS
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.models.layers.dropout import sample_keys
from dice_jax.structs import Batch, Detections, Intrinsics, Targets

FIRST_KEY = 1 << 30  # apart from the keys that masks and dropout get for their steps
_FIRST_INNER = 17  # of the 68 landmarks; the jaw contour is no fixed point of the skin
_INNER = np.array(FACE_68[_FIRST_INNER:])
_TIPS, _BEFORE_TIPS = np.array([4, 8, 12, 16, 20]), np.array([3, 7, 11, 15, 19])
_DEPTH_NOISE = 2.0  # relative to the noise in the plane of the image


@dataclasses.dataclass(frozen=True)
class EvidenceMix:
    """How often a sample gets which evidence, and how wrong it is: section `evidence` of a config.

    Attributes:
        detected: share of samples with the stored detections; the others get the true keypoints
            with errors. Data sets without detections: nothing was found.
        no_hand, no_face: shares of samples whose hand or face is withheld.
        wrong_hand: share of hands that lie elsewhere, turned, with full confidence.
        known_camera: share of samples whose focal length is told, where it is known.
        unseen: share of the points of a hand that are not seen.
        points: error of each point of the hand, relative to the size of the hand in the image.
        whole: shift of the whole hand, relative to its size.
        scale: relative error of the size of the whole hand.
        turn: of the whole hand, radians, about any axis.
        tips: largest share of the last bone by which finger tips are marked short.
        face: error of each point of the face, relative to the size of the face.
    """

    detected: float
    no_hand: float
    no_face: float
    wrong_hand: float
    known_camera: float
    unseen: float
    points: float
    whole: float
    scale: float
    turn: float
    tips: float
    face: float


def draw(
    key: PRNGKeyArray,
    batch: Batch,
    hand_model: BodyModel,
    head_model: BodyModel,
    mix: EvidenceMix,
    axis_name: str | None = None,
) -> Batch:
    """Draws the evidence of a batch; pure.

    Args:
        key: of the step.
        batch: with stored detections and known cameras.
        hand_model, head_model: pose the true keypoints.
        mix: what to draw.
        axis_name: mapped axis of the devices.

    Returns:
        The batch with other `detections` and `intrinsics`.
    """
    targets = models.pose_targets(batch, hand_model, head_model)
    keys = cast(PRNGKeyArray, sample_keys(key, len(batch.images), axis_name))
    draw_all = jax.vmap(functools.partial(_draw_one, mix=mix))
    detections, intrinsics = draw_all(keys, batch, targets)
    return batch.replace(detections=detections, intrinsics=intrinsics)


def _draw_one(
    key: PRNGKeyArray, sample: Batch, targets: Targets, mix: EvidenceMix
) -> tuple[Detections, Intrinsics]:
    kinds, hand_key, face_key, wrong_key = jax.random.split(key, 4)
    chances = jax.random.uniform(kinds, (5,))
    hand_points, hand_world = _disturbed_hand(hand_key, sample, targets, mix)
    face_points = _disturbed_face(face_key, sample, targets, mix)
    simulated = Detections(hand_points, hand_world, face_points)
    # Without 3D labels nothing can be simulated.
    stored = (chances[0] < mix.detected) | (sample.has_3d == 0)
    choose = lambda a, b: jnp.where(stored, a, b)
    found = jax.tree.map(choose, sample.detections, simulated)

    wrong = chances[1] < mix.wrong_hand
    elsewhere = _elsewhere(wrong_key, found)
    found = jax.tree.map(lambda a, b: jnp.where(wrong, a, b), elsewhere, found)

    hand, face = chances[2] >= mix.no_hand, chances[3] >= mix.no_face
    found = Detections(
        hand_points=hand * found.hand_points,
        hand_world=hand * found.hand_world,
        face_points=face * found.face_points,
    )
    known = chances[4] < mix.known_camera
    focal_length = jnp.where(known, sample.intrinsics.focal_length, jnp.inf)
    return found, sample.intrinsics.replace(focal_length=focal_length)


def _disturbed_hand(
    key: PRNGKeyArray, sample: Batch, targets: Targets, mix: EvidenceMix
) -> tuple[Float[Array, "21 4"], Float[Array, "21 3"]]:
    """The true hand in pixels and in meters, with the errors of a landmark network."""
    keys = jax.random.split(key, 7)
    pixels, world = sample.hand_keypoints_2d[:, :2], targets.hand_keypoints
    short = mix.tips * jax.random.uniform(keys[0])
    shorten = lambda x: x.at[_TIPS].add(short * (x[_BEFORE_TIPS] - x[_TIPS]))
    pixels, world = shorten(pixels), shorten(world)
    world -= world.mean(0)[None]
    size, size_3d = _size(pixels), _size(world)
    depth = world[:, 2] * size / jnp.maximum(_size(world[:, :2]), 1e-3)
    points = jnp.column_stack([pixels, depth - depth[0]])

    noise = jax.random.normal(keys[1], (NUM_HAND_KEYPOINTS, 3)) * jnp.array([[1, 1, _DEPTH_NOISE]])
    rotation = axis_angle_to_matrix(mix.turn * jax.random.normal(keys[2], (3,)))
    scale = 1.0 + mix.scale * jax.random.normal(keys[3])
    middle = points.mean(0)[None]
    points = scale * (points - middle) @ rotation.T + middle + mix.points * size * noise
    points = points.at[:, :2].add(mix.whole * size * jax.random.normal(keys[4], (1, 2)))
    world = world @ rotation.T + mix.points * size_3d * jax.random.normal(keys[5], world.shape)

    confidence = sample.hand_keypoints_2d[:, 2] * sample.has_hand
    seen = (confidence > 0) & (jax.random.uniform(keys[6], (NUM_HAND_KEYPOINTS,)) >= mix.unseen)
    there = (confidence > 0).any()
    points = jnp.column_stack([points, jnp.ones(NUM_HAND_KEYPOINTS)])
    return jnp.where(seen[:, None], points, 0.0), jnp.where(there, world, 0.0)


def _disturbed_face(
    key: PRNGKeyArray, sample: Batch, targets: Targets, mix: EvidenceMix
) -> Float[Array, "468 4"]:
    """The true landmarks of the inner face with errors, at their points of the face mesh."""
    pixels, seen = sample.head_keypoints_2d[_FIRST_INNER:, :2], sample.head_keypoints_2d[:, 2:] > 0
    in_meters = targets.head_keypoints[_FIRST_INNER:]
    size = _size(pixels)
    depth = in_meters[:, 2:] * size / jnp.maximum(_size(in_meters[:, :2]), 1e-3)
    noise = jax.random.normal(key, (len(_INNER), 3)) * jnp.array([[1, 1, _DEPTH_NOISE]])
    points = jnp.concatenate([pixels, depth], axis=1) + mix.face * size * noise
    points = jnp.column_stack([points, jnp.ones(len(_INNER))])
    mesh = jnp.zeros((NUM_FACE_POINTS, 4))
    return mesh.at[_INNER].set(jnp.where(seen[_FIRST_INNER:], points, 0.0))


def _elsewhere(key: PRNGKeyArray, found: Detections) -> Detections:
    """The hand shifted and turned at random."""
    keys = jax.random.split(key, 2)
    rotation = axis_angle_to_matrix(2.0 * jax.random.normal(keys[0], (3,)))
    shift = jax.random.uniform(keys[1], (1, 2), minval=-80.0, maxval=80.0)
    points, seen = found.hand_points[:, :3], found.hand_points[:, 3:] > 0
    middle = points.mean(0)[None]
    turned = (points - middle) @ rotation.T + middle
    turned += jnp.concatenate([shift, jnp.zeros((1, 1))], axis=1)
    moved = jnp.where(seen, jnp.column_stack([turned, jnp.ones(NUM_HAND_KEYPOINTS)]), 0.0)
    return found.replace(hand_points=moved, hand_world=found.hand_world @ rotation.T)


def _size(points: Float[Array, "N D"]) -> Float[Array, ""]:
    """Diameter of the points, about."""
    return 4.0 * jnp.sqrt(((points - points.mean(0)[None]) ** 2).sum(-1).mean())
