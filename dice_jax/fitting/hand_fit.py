"""Fits a hand to its detected keypoints, in front of a head that is already fitted."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.fitting.hand_contact import (
    ContactConfig,
    bring_into_contact,
    contact_residuals,
    doubt_contact,
    near_surface,
    search_pairs,
)
from dice_jax.fitting.hand_evidence import HandEvidence, HeadSurface
from dice_jax.fitting.hand_points import HandPoints, HandUnknowns
from dice_jax.fitting.levenberg_marquardt import minimize, robust
from dice_jax.fitting.motion import hand_motion
from dice_jax.geometry.procrustes import procrustes
from dice_jax.geometry.rotations import matrix_to_axis_angle
from dice_jax.structs import HandParams

# Keypoints that move with the palm: wrist, root of the thumb, and the four knuckles.
_PALM = (0, 1, 5, 9, 13, 17)


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
        depth: of the mean keypoint around the network's, meters, where a hand touches. Otherwise
            it is `HandEvidence.depth_sigma`: the size of the hand in the image corrects it.
        contact: of hand and head.
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
    contact: ContactConfig = dataclasses.field(default_factory=ContactConfig)


class FittedHand(struct.PyTreeNode):
    """The result of `fit_hand`.

    Attributes:
        params: head-centered.
        accepted: False where the network's hand lies nearer to the detected keypoints than the
            fitted one, or where there are none; `params` are then the network's.
        cost, first_cost: of the last round of the fit, half the sum of squared residuals.
        residual: root mean square distance of the believed keypoints, pixels of the crop.
        sigma: standard deviation of the keypoints in the image, pixels of the crop.
    """

    params: HandParams
    accepted: Bool[Array, "*B"]
    cost: Float[Array, "*B"]
    first_cost: Float[Array, "*B"]
    residual: Float[Array, "*B"]
    sigma: Float[Array, "*B 21"]


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

        def residuals(unknowns: HandUnknowns):
            params = unknowns.params(origin)
            keypoints, detector = hand.keypoints(params)
            return _free_residuals(unknowns, params, keypoints, detector, hand, evidence, config)

        found = minimize(residuals, HandUnknowns.at(origin), config.free_steps)
        return origin, found.unknowns, found.cost

    origins, starts, costs = jax.vmap(fit_free)(poses)
    best = jnp.argmin(costs)
    origin, unknowns = jax.tree.map(lambda x: x[best], (origins, starts))
    evidence = doubt_contact(unknowns, hand, head, evidence, origin, config.contact)
    unknowns = bring_into_contact(unknowns, hand, head, evidence, origin, config.contact)
    skin = near_surface(hand.keypoints(unknowns.params(origin))[0], head)

    def one_round(unknowns, _):
        vertices, _, _ = hand.pose(unknowns.params(origin))
        pairs = search_pairs(vertices, skin, evidence)

        def residuals(unknowns: HandUnknowns):
            params = unknowns.params(origin)
            vertices, keypoints, detector = hand.pose(params)
            free = _free_residuals(unknowns, params, keypoints, detector, hand, evidence, config)
            contact = contact_residuals(vertices, pairs, skin, evidence, config.contact)
            return jnp.concatenate([free, contact])

        found = minimize(residuals, unknowns, config.steps)
        return found.unknowns, (found.cost, found.first_cost)

    unknowns, (cost, first_cost) = jax.lax.scan(one_round, unknowns, None, length=config.rounds)
    fitted = unknowns.params(origin)

    # A fit that is farther from the detections than the network's hand is refused.
    squared = _squared_distances(hand, fitted, evidence)
    squared_network = _squared_distances(hand, evidence.network, evidence)
    believed = evidence.points[:, 3]
    mean = lambda x: (believed * x).sum() / jnp.maximum(believed.sum(), 1e-6)
    accepted = believed.any() & (mean(squared) <= mean(squared_network))  # False for NaN
    choose = lambda a, b: jax.tree.map(lambda x, y: jnp.where(accepted, x, y), a, b)
    params = choose(fitted, evidence.network)
    squared = choose(squared, squared_network)

    # A keypoint is as uncertain as detections are, and as its own detection says it is off.
    detected = (config.point * evidence.camera.scale) ** 2 + config.point_pixels**2
    sigma = jnp.sqrt(detected + mean(squared) / 2 + squared / 2)
    residual = jnp.sqrt(mean(squared))
    return FittedHand(params, accepted, cost[-1], first_cost[0], residual, sigma)


def _squared_distances(
    hand: HandPoints, params: HandParams, evidence: HandEvidence
) -> Float[Array, "21"]:
    """Squared distances in the image from the detected keypoints, pixels of the crop."""
    _, detector = hand.keypoints(params)
    return ((evidence.project(detector) - evidence.points[:, :2]) ** 2).sum(-1)


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
    _, keypoints = hand.keypoints(flat)
    _, rotation, _ = procrustes(keypoints[palm], evidence.world[palm])
    orient = matrix_to_axis_angle(rotation)
    has_world = (jnp.abs(evidence.world) > 0).any()
    orient = jnp.where(has_world, orient, network.global_orient)
    params = flat.replace(global_orient=orient)
    keypoints, detector = hand.keypoints(params)
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


def _free_residuals(
    unknowns: HandUnknowns,
    params: HandParams,
    keypoints: Float[Array, "21 3"],
    detector: Float[Array, "21 3"],
    hand: HandPoints,
    evidence: HandEvidence,
    config: HandFitConfig,
) -> Float[Array, "R"]:
    """Image, metric points, depth and priors: all but the head."""
    confidence = jnp.sqrt(evidence.points[:, 3:])
    sigma = jnp.sqrt((evidence.camera.scale * config.point) ** 2 + config.point_pixels**2)
    pixels = evidence.project(detector)
    image = confidence * robust((pixels - evidence.points[:, :2]) / sigma, config.outlier)

    centered = detector - detector.mean(0)[None]
    world = evidence.world - evidence.world.mean(0)[None]
    size = lambda x: jnp.sqrt((x**2).mean() + 1e-9)
    ratio = size(centered) / size(world)
    has_world = (jnp.abs(evidence.world) > 0).any()
    world = robust((centered - ratio * world) / config.world, config.outlier)
    world = jnp.where(has_world, confidence * world, 0.0)

    depth = jnp.where(evidence.touches > 0.5, config.depth, evidence.depth_sigma)
    pose = unknowns.pose
    beyond = jax.nn.relu(pose - hand.high) + jax.nn.relu(hand.low - pose)
    motion = []
    if evidence.before is not None:
        motion.append(hand_motion(evidence.before, params, keypoints))
    return jnp.concatenate(
        [
            *motion,
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
