"""Fits a hand to its detected keypoints, in front of a head that is already fitted."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.finger_joints import joint_limits
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.fitting.levenberg_marquardt import minimize, robust
from dice_jax.fitting.partial_skinning import PartialModel, at_vertices
from dice_jax.geometry import camera
from dice_jax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from dice_jax.structs import Camera, HandParams, Intrinsics

# Keypoints that move with the palm: wrist, root of the thumb, and the four knuckles.
_PALM = (0, 1, 5, 9, 13, 17)
_FAR = 1.0  # meters: where no surface of the head is near


@dataclasses.dataclass(frozen=True)
class HandFitConfig:
    """Standard deviations of the evidence and of the priors.

    Attributes:
        free_steps: of Levenberg-Marquardt before the hand meets the head.
        rounds, steps: then, in every round, nearest points are searched again and followed by that
            many steps.
        point: distance of a detected keypoint from that of the hand, meters.
        point_pixels: the same for a hand of few pixels.
        world: of a keypoint in the detector's metric answer, meters.
        outlier: distance from which a keypoint is believed less, in standard deviations.
        betas: around zero.
        pose_from_network, pose_from_mean: radians around the network's pose and the mean pose.
        limit: radians beyond the range of motion.
        orient: radians around the start.
        depth, free_depth: of the mean keypoint around the network's, meters; of a hand that touches
            and of one that does not. Nothing in the image corrects the latter.
        overlap: of a vertex inside the head beyond what its skin gives way, meters.
        touch: of the distance between surfaces that touch, meters.
        far_off, deep, share_inside: a hand that should touch and is `far_off` from the skin, or one
            that has a `share_inside` of its vertices `deep` below it (meters), starts anew from the
            visible surface of the head.
    """

    free_steps: int = 8
    rounds: int = 3
    steps: int = 4
    point: float = 0.004
    point_pixels: float = 0.7
    world: float = 0.012
    outlier: float = 3.0
    betas: float = 1.0
    pose_from_network: float = 0.8
    pose_from_mean: float = 1.0
    limit: float = 0.05
    orient: float = 2.0
    depth: float = 0.02
    free_depth: float = 0.004
    overlap: float = 0.003
    touch: float = 0.006
    far_off: float = 0.03
    deep: float = 0.01
    share_inside: float = 0.25


class HandPoints(struct.PyTreeNode):
    """The parts of a hand model that the fit poses.

    Attributes:
        points: coarse vertices, then the finger tips.
        offsets: from each keypoint of the model to that of the detector, meters, in the rest axes
            of the keypoint's bone.
        low, high: range of motion of `hand_pose`.
        mean_pose: of the hand model.
    """

    points: PartialModel
    offsets: Float[Array, "21 3"]
    low: Float[Array, "45"]
    high: Float[Array, "45"]
    mean_pose: Float[Array, "45"]

    def pose(
        self, params: HandParams
    ) -> tuple[Float[Array, "N 3"], Float[Array, "21 3"], Float[Array, "21 3"]]:
        """Coarse vertices, keypoints of the model, and keypoints of the detector; meters."""
        pose = jnp.concatenate([params.global_orient, params.hand_pose]).reshape(-1, 3)
        posed = self.points.pose(params.betas, axis_angle_to_matrix(pose))
        points = posed.points + params.transl[None]
        native = jnp.concatenate([posed.joints + params.transl[None], points[-5:]])
        keypoints = native[jnp.array(OPENPOSE_FROM_MANO)]
        bones = posed.rotations[jnp.array(_BONE)]
        detector = keypoints + (bones * self.offsets[:, None, :]).sum(-1)
        return points[:-5], keypoints, detector


# The joint whose rotation moves each keypoint's offset; that of a tip is the last joint of its
# finger.
_BONE = tuple(i if i < 16 else (15, 3, 6, 12, 9)[i - 16] for i in OPENPOSE_FROM_MANO)


def hand_points(model: BodyModel, offsets: Float[Array, "21 3"]) -> HandPoints:
    """Prepares a hand model; `offsets` as in `HandPoints`."""
    ids = jnp.concatenate([model.hierarchy.down_ids[0], model.tip_ids])
    low, high = (jnp.asarray(bound, jnp.float32) for bound in joint_limits())
    return HandPoints(at_vertices(model, ids), offsets, low, high, model.pose_mean)


class HeadSurface(struct.PyTreeNode):
    """The skin that the hand may touch.

    Attributes:
        vertices: head-centered, meters.
        normals: unit, outwards.
        outside: False for vertices that are no skin (inner mouth, eye sockets).
        give: how far the skin may give way, meters.
        contact: probability of contact.
    """

    vertices: Float[Array, "*B V 3"]
    normals: Float[Array, "*B V 3"]
    outside: Bool[Array, "*B V"]
    give: Float[Array, "*B V"]
    contact: Float[Array, "*B V"]


class HandUnknowns(struct.PyTreeNode):
    """What the fit changes."""

    turn: Float[Array, "*B 3"]
    pose: Float[Array, "*B 45"]
    betas: Float[Array, "*B 10"]
    shift: Float[Array, "*B 3"]


class HandEvidence(struct.PyTreeNode):
    """What the hand is fitted to.

    Attributes:
        points: see `Detections.hand_points`.
        world: see `Detections.hand_world`.
        network: the network's hand, head-centered.
        trust: 1 where the network saw what it was trained for, 0 where its pose says nothing.
        depth: mean depth of the network's keypoints, meters.
        contact: probability that each coarse vertex touches, zero where hand and face do not.
        touches: probability that hand and face touch.
        camera, intrinsics: of the crop.
    """

    points: Float[Array, "*B 21 4"]
    world: Float[Array, "*B 21 3"]
    network: HandParams
    trust: Float[Array, "*B"]
    depth: Float[Array, "*B"]
    contact: Float[Array, "*B N"]
    touches: Float[Array, "*B"]
    camera: Camera
    intrinsics: Intrinsics


class FittedHand(struct.PyTreeNode):
    """The result of `fit_hand`.

    Attributes:
        params: head-centered.
        cost, first_cost: of the last round of the fit, half the sum of squared residuals.
        residual: root mean square distance of the believed keypoints, pixels of the crop.
        sigma: standard deviation of the keypoints in the image, pixels of the crop.
    """

    params: HandParams
    cost: Float[Array, "*B"]
    first_cost: Float[Array, "*B"]
    residual: Float[Array, "*B"]
    sigma: Float[Array, "*B 21"]


class _Pairs(struct.PyTreeNode):
    """What each coarse vertex of the hand is compared with until the next search.

    Attributes:
        foot, normal: nearest vertex of the skin and its normal.
        give: how far the skin may give way there.
        target: nearest vertex of the skin that is claimed to be touched.
        pull: weight of the contact.
        front: depth of the visible surface of the head in the same pixel; far where there is none.
    """

    foot: Float[Array, "N 3"]
    normal: Float[Array, "N 3"]
    give: Float[Array, "N"]
    target: Float[Array, "N 3"]
    pull: Float[Array, "N"]
    front: Float[Array, "N"]


def fit_hand(
    hand: HandPoints,
    head: HeadSurface,
    evidence: HandEvidence,
    config: HandFitConfig = HandFitConfig(),
) -> FittedHand:
    """Fits one hand; for a batch, `vmap` it."""
    # Two starts, with the network's fingers and with those of the mean pose.
    poses = jnp.stack([evidence.network.hand_pose, hand.mean_pose])

    def fit_free(pose):
        origin = start_hand(hand, evidence, pose)
        zero = HandUnknowns(
            jnp.zeros_like(origin.global_orient), pose, origin.betas, jnp.zeros_like(origin.transl)
        )
        residuals = lambda unknowns: _free_residuals(unknowns, hand, evidence, origin, config)
        found = minimize(residuals, zero, config.free_steps)
        return origin, found.unknowns, found.cost

    origins, starts, costs = jax.vmap(fit_free)(poses)
    best = jnp.argmin(costs)
    origin, unknowns = jax.tree.map(lambda x: x[best], (origins, starts))
    free = lambda unknowns: _free_residuals(unknowns, hand, evidence, origin, config)
    unknowns = _bring_into_contact(unknowns, hand, head, evidence, origin, config)

    def one_round(unknowns, _):
        pairs = _search_pairs(hand, head, evidence, _unpack(unknowns, origin), config)
        together = lambda unknowns: jnp.concatenate(
            [
                free(unknowns),
                _contact_residuals(unknowns, hand, head, evidence, origin, pairs, config),
            ]
        )
        found = minimize(together, unknowns, config.steps)
        return found.unknowns, (found.cost, found.first_cost)

    unknowns, (cost, first_cost) = jax.lax.scan(one_round, unknowns, None, length=config.rounds)
    params = _unpack(unknowns, origin)
    _, _, keypoints = hand.pose(params)
    error = _project(keypoints, evidence) - evidence.points[:, :2]
    believed = evidence.points[:, 3]
    squared = (error**2).sum(-1)
    mean = (believed * squared).sum() / jnp.maximum(believed.sum(), 1e-6)
    # A keypoint is as uncertain as detections are, and as its own detection says it is off.
    detected = (config.point * evidence.camera.scale) ** 2 + config.point_pixels**2
    sigma = jnp.sqrt(detected + mean / 2 + squared / 2)
    return FittedHand(params, cost[-1], first_cost[0], jnp.sqrt(mean), sigma)


def _unpack(unknowns: HandUnknowns, origin: HandParams) -> HandParams:
    orient = axis_angle_to_matrix(origin.global_orient) @ axis_angle_to_matrix(unknowns.turn)
    return HandParams(
        betas=unknowns.betas,
        global_orient=matrix_to_axis_angle(orient),
        hand_pose=unknowns.pose,
        transl=origin.transl + 0.1 * unknowns.shift,
    )


def _project(points, evidence):
    cam, intrinsics = evidence.camera, evidence.intrinsics
    return camera.project_scaled_perspective(
        points, cam.scale, cam.transl, intrinsics.focal_length, intrinsics.camera_center
    )


def start_hand(
    hand: HandPoints, evidence: HandEvidence, hand_pose: Float[Array, "45"]
) -> HandParams:
    """A mean hand in a given pose, turned as the detector says and moved onto its keypoints."""
    network = evidence.network
    flat = network.replace(
        global_orient=jnp.zeros_like(network.global_orient),
        betas=jnp.zeros_like(network.betas),
        hand_pose=hand_pose,
    )
    palm = jnp.array(_PALM)
    _, _, keypoints = hand.pose(flat)
    source, target = keypoints[palm], evidence.world[palm]
    source, target = source - source.mean(0)[None], target - target.mean(0)[None]
    u, _, vt = jnp.linalg.svd(target.T @ source)
    sign = jnp.array([1.0, 1.0, 1.0]).at[2].set(jnp.sign(jnp.linalg.det(u @ vt)))
    orient = matrix_to_axis_angle((u * sign[None]) @ vt)
    has_world = (jnp.abs(evidence.world) > 0).any()
    orient = jnp.where(has_world, orient, network.global_orient)
    params = flat.replace(global_orient=orient)
    _, keypoints, detector = hand.pose(params)
    depth = evidence.depth - keypoints[:, 2].mean()
    weight = evidence.points[:, 3:]
    mean = lambda x: (weight * x).sum(0) / jnp.maximum(weight.sum(), 1e-6)
    # The ray of the mean detected keypoint, at the wanted depth.
    cam, intrinsics = evidence.camera, evidence.intrinsics
    ratio = 1.0 + evidence.depth * cam.scale / intrinsics.focal_length
    from_center = (mean(evidence.points[:, :2]) - intrinsics.camera_center) * ratio
    xy = (from_center + intrinsics.camera_center - cam.transl) / cam.scale
    shift = jnp.concatenate([xy - mean(detector)[:2], depth[None]])
    return params.replace(transl=params.transl + shift)


def _free_residuals(unknowns, hand, evidence, origin, config):
    """Image, metric points, depth and priors: all but the head."""
    params = _unpack(unknowns, origin)
    _, keypoints, detector = hand.pose(params)
    confidence = jnp.sqrt(evidence.points[:, 3:])
    sigma = jnp.sqrt((evidence.camera.scale * config.point) ** 2 + config.point_pixels**2)
    pixels = _project(detector, evidence)
    image = confidence * robust((pixels - evidence.points[:, :2]) / sigma, config.outlier)

    centered = detector - detector.mean(0)[None]
    world = evidence.world - evidence.world.mean(0)[None]
    size = lambda x: jnp.sqrt((x**2).mean() + 1e-9)
    ratio = size(centered) / size(world)
    has_world = (jnp.abs(evidence.world) > 0).any()
    world = robust((centered - ratio * world) / config.world, config.outlier)
    world = jnp.where(has_world, confidence * world, 0.0)

    depth = jnp.where(evidence.touches > 0.5, config.depth, config.free_depth)
    pose = unknowns.pose
    beyond = jax.nn.relu(pose - hand.high) + jax.nn.relu(hand.low - pose)
    return jnp.concatenate(
        [
            image.ravel(),
            world.ravel(),
            (keypoints[:, 2].mean() - evidence.depth)[None] / depth,
            evidence.trust * (pose - evidence.network.hand_pose) / config.pose_from_network,
            (pose - hand.mean_pose) / config.pose_from_mean,
            beyond / config.limit,
            unknowns.betas / config.betas,
            unknowns.turn / config.orient,
        ]
    )


def _search_pairs(hand, head, evidence, params, config) -> _Pairs:
    vertices, _, _ = hand.pose(params)
    vertices = jax.lax.stop_gradient(vertices)
    squared = ((vertices[:, None] - head.vertices[None]) ** 2).sum(-1)
    squared = jnp.where(head.outside[None], squared, _FAR**2)
    nearest = jnp.argmin(squared, axis=1)
    # Vertices that the network claims are preferred by up to 3 cm.
    claimed = squared + ((1.0 - head.contact) * 0.03**2)[None]
    target = jnp.argmin(claimed, axis=1)
    pull = jnp.where(evidence.contact > 0.3, evidence.contact, 0.0)
    return _Pairs(
        foot=head.vertices[nearest],
        normal=head.normals[nearest],
        give=head.give[nearest],
        target=head.vertices[target],
        pull=pull,
        front=_front(vertices, head, evidence),
    )


def _front(vertices, head, evidence):
    """Depth of the head's nearest surface on the ray of each vertex; `_FAR` where it misses."""
    radius = 0.006 * evidence.camera.scale  # pixels: about the spacing of the head's vertices
    pixels, of_head = _project(vertices, evidence), _project(head.vertices, evidence)
    distance = ((pixels[:, None] - of_head[None]) ** 2).sum(-1)
    over = (distance < radius**2) & head.outside[None]
    return jnp.where(over, head.vertices[None, :, 2], _FAR).min(1)


def _bring_into_contact(unknowns, hand, head, evidence, origin, config):
    """Moves a hand that should touch, but is far off or inside the head, along the line of sight.

    It goes to where the first of its vertices meets the visible surface of the head. From there
    Levenberg-Marquardt can go on, which sees nearest points only.
    """
    params = _unpack(unknowns, origin)
    vertices, _, _ = hand.pose(params)
    pairs = _search_pairs(hand, head, evidence, params, config)
    distance = jnp.sqrt(((vertices - pairs.foot) ** 2).sum(-1))
    inside = ((vertices - pairs.foot) * pairs.normal).sum(-1) < -config.deep
    far_off = jnp.where(evidence.touches > 0.5, distance.min() > config.far_off, False)
    gap = pairs.front - vertices[:, 2]  # positive: in front of the head
    over = gap < 0.5 * _FAR
    first = jnp.where(over.any(), jnp.where(over, gap, _FAR).min(), 0.0)
    lost = (far_off | (inside.mean() > config.share_inside)) & head.outside.any()
    shift = jnp.where(lost, first, 0.0)
    return unknowns.replace(shift=unknowns.shift.at[2].add(shift / 0.1))


def _contact_residuals(unknowns, hand, head, evidence, origin, pairs: _Pairs, config):
    vertices, _, _ = hand.pose(_unpack(unknowns, origin))
    outside = ((vertices - pairs.foot) * pairs.normal).sum(-1)
    overlap = jax.nn.relu(-(outside + pairs.give)) / config.overlap
    pull = jnp.sqrt(pairs.pull * evidence.touches)[:, None]
    touch = 0.5 * pull * robust((vertices - pairs.target) / config.touch, 4.0)
    # Without a head there is nothing to touch.
    return jnp.where(head.outside.any(), jnp.concatenate([overlap, touch.ravel()]), 0.0)
