"""New views of labeled scenes, without pictures: pre-training of networks that see landmarks alone.

What a landmark network says of a hand and a face has to be lifted to 3D whatever the picture looks
like. A scene that was solved once, of which every view is known exactly, teaches that from any side
and with any lens, and an update without a backbone costs a fraction of one with it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import pose_hand
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import project_perspective
from dice_jax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from dice_jax.models.layers.dropout import sample_keys
from dice_jax.structs import Batch, Detections, Intrinsics, PosedMesh

FIRST_KEY = 3 << 29  # apart from those of `evidence`, and of the masks and dropout of the steps
_NEAREST = 0.15  # meters from the camera to the nearest keypoint
_FILLED = 0.95  # of the crop, at most


@dataclasses.dataclass(frozen=True)
class ViewRanges:
    """How far a view may be from that of the picture: section `views` of a configuration.

    Each draws uniformly from [-r, r].

    Attributes:
        yaw, pitch, roll: of the scene about the center of the head, radians.
        distance: of the camera, by a factor exp(r).
        scale: of the crop, by a factor exp(r).
        shift: of the crop, pixels.
    """

    yaw: float
    pitch: float
    roll: float
    distance: float
    scale: float
    shift: float


def new_views(
    key: PRNGKeyArray,
    batch: Batch,
    hand_model: BodyModel,
    head_model: BodyModel,
    ranges: ViewRanges,
    axis_name: str | None = None,
) -> Batch:
    """Turns each scene before a camera of its own; pure.

    Args:
        key: of the step.
        batch: with known cameras; a sample without 3D labels or without one keeps its view.
        hand_model, head_model: of the labels.
        ranges: of the views.
        axis_name: mapped axis of the devices.

    Returns:
        The batch with other parameters, deformations, 2D keypoints and intrinsics. It has neither
        depth nor detections, which belong to the pictures, and the pictures no longer show it.
    """
    keys = cast(PRNGKeyArray, sample_keys(key, len(batch.images), axis_name))
    hand = pose_hand(hand_model, batch.hand_params)
    head = pose_head(head_model, batch.head_params)
    new = jax.vmap(functools.partial(_new_view, ranges=ranges))(keys, batch, hand, head)
    return new.replace(
        hand_keypoints_depth=jnp.zeros_like(batch.hand_keypoints_depth),
        head_keypoints_depth=jnp.zeros_like(batch.head_keypoints_depth),
        has_depth=jnp.zeros_like(batch.has_depth),
        detections=jax.tree.map(jnp.asarray, Detections.nothing(len(batch.images))),
    )


def _new_view(
    key: PRNGKeyArray, sample: Batch, hand: PosedMesh, head: PosedMesh, ranges: ViewRanges
) -> Batch:
    drawn = jax.random.uniform(key, (7,), minval=-1.0, maxval=1.0)
    yaw, pitch, roll, distance, scale = drawn[:5] * jnp.array(
        [ranges.yaw, ranges.pitch, ranges.roll, ranges.distance, ranges.scale]
    )
    shift = ranges.shift * drawn[5:]
    rotation = _turn(yaw, pitch, roll)
    center = head_center(head.vertices)
    turn = lambda points: (points - center[None]) @ rotation.T

    # The camera moves along the ray of the head, and its focal length with it.
    hand_points, head_points = turn(hand.keypoints), turn(head.keypoints)
    seen = sample.hand_keypoints_2d[:, 2] * sample.has_hand > 0
    in_front = jnp.concatenate([jnp.where(seen, hand_points[:, 2], 0.0), head_points[:, 2]])
    depth = jnp.maximum(center[2] * jnp.exp(distance), _NEAREST - in_front.min())
    nearer = depth / center[2]
    new_center = center * nearer
    # The head stays where it was in the picture, and as large, up to `scale` and `shift`.
    pixel = _project(center[None], sample.intrinsics)[0] + shift
    focal_length = sample.intrinsics.focal_length * nearer * jnp.exp(scale)
    at_pixel = Intrinsics(focal_length, pixel - focal_length * new_center[:2] / depth)
    hand_points, head_points = hand_points + new_center[None], head_points + new_center[None]
    intrinsics = _fitted(hand_points, head_points, seen, at_pixel)

    # T (R (v - rest) + rest + t) with rest + t the posed root joint
    def moved(params, root):
        orient = matrix_to_axis_angle(rotation @ axis_angle_to_matrix(params.global_orient))
        transl = turn(root[None])[0] + new_center - (root - params.transl)
        return params.replace(global_orient=orient, transl=transl)

    with_2d = lambda keypoints, points: jnp.concatenate(
        [_project(points, intrinsics), keypoints[:, 2:]], axis=1
    )
    new = sample.replace(
        hand_params=moved(sample.hand_params, hand.joints[0]),
        head_params=moved(sample.head_params, head.joints[0]),
        deformations=sample.deformations @ rotation.T,
        hand_keypoints_2d=with_2d(sample.hand_keypoints_2d, hand_points),
        head_keypoints_2d=with_2d(sample.head_keypoints_2d, head_points),
        intrinsics=intrinsics,
    )
    known = (sample.has_3d > 0) & jnp.isfinite(sample.intrinsics.focal_length)
    return jax.tree.map(lambda a, b: jnp.where(known, a, b), new, sample)


def _turn(yaw, pitch, roll) -> Float[Array, "3 3"]:
    about = lambda axis, angle: axis_angle_to_matrix(angle * jnp.eye(3)[axis])
    return about(2, roll) @ about(0, pitch) @ about(1, yaw)


def _project(points: Float[Array, "N 3"], intrinsics: Intrinsics) -> Float[Array, "N 2"]:
    return project_perspective(points, intrinsics.focal_length, intrinsics.camera_center)


def _fitted(
    hand: Float[Array, "21 3"],
    head: Float[Array, "68 3"],
    seen: Bool[Array, "21"],
    intrinsics: Intrinsics,
) -> Intrinsics:
    """The camera of a crop that shows what is seen of the hand and the whole face."""
    pixels = _project(jnp.concatenate([hand, head]), intrinsics)
    shown = jnp.concatenate([seen, jnp.ones(len(head), bool)])[:, None]
    low = jnp.where(shown, pixels, jnp.inf).min(0)
    high = jnp.where(shown, pixels, -jnp.inf).max(0)
    shrink = jnp.minimum(1.0, _FILLED * CROP_SIZE / (high - low).max())
    middle = CROP_SIZE / 2
    center = middle + shrink * (intrinsics.camera_center - middle)
    low, high = middle + shrink * (low - middle), middle + shrink * (high - middle)
    border = (1.0 - _FILLED) / 2 * CROP_SIZE
    inside = jnp.maximum(border - low, 0.0) + jnp.minimum(CROP_SIZE - border - high, 0.0)
    return Intrinsics(shrink * intrinsics.focal_length, center + inside)
