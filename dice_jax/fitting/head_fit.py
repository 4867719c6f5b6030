"""Fits the head and the camera to the points of the face mesh."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float, Int

from dice_jax.array_types import Array
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.fitting.levenberg_marquardt import minimize, robust
from dice_jax.fitting.motion import HeadBefore, head_motion
from dice_jax.fitting.partial_skinning import PartialModel
from dice_jax.geometry import camera
from dice_jax.geometry.procrustes import procrustes
from dice_jax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from dice_jax.structs import Camera, HeadParams, Intrinsics

NUM_BETAS = 30  # the first ones; the others stay as the network says


@dataclasses.dataclass(frozen=True)
class HeadFitConfig:
    """Standard deviations of the evidence and of the priors.

    Attributes:
        steps: of Levenberg-Marquardt.
        point: distance of a detected point from that of the mesh, meters on the head.
        point_pixels: the same for a head of few pixels.
        outlier: distance from which a point is believed less, in the unit of `point`.
        independent_points: the errors of neighboring points are nearly the same, so that all
            points together count as this many.
        relative_depth: of MediaPipe's relative depth, meters on the head.
        betas, expression: around zero; the shape space has unit variance.
        betas_from_network, expression_from_network: around the network's answer.
        largest_coefficient: of betas and expression; what exceeds it costs `excess` as one
            standard deviation.
        neck, jaw_sideways: radians around the network's neck, and around a jaw that only opens.
        jaw, closed_jaw: radians around a closed jaw, and by which it may be shut further.
        orient: radians around the start.
        log_scale, transl: around the start; the latter in meters on the head.
    """

    steps: int = 10
    point: float = 0.0025
    point_pixels: float = 0.5
    outlier: float = 3.0
    independent_points: float = 120.0
    relative_depth: float = 0.012
    betas: float = 1.0
    expression: float = 1.0
    betas_from_network: float = 2.0
    expression_from_network: float = 3.0
    largest_coefficient: float = 1.7
    excess: float = 0.1
    neck: float = 0.2
    jaw: float = 0.3
    jaw_sideways: float = 0.05
    closed_jaw: float = 0.02
    orient: float = 1.0
    log_scale: float = 0.5
    transl: float = 0.1


class HeadUnknowns(struct.PyTreeNode):
    """What the fit changes; each in the unit of its prior, see `_unpack`."""

    betas: Float[Array, "*B 30"]
    expression: Float[Array, "*B 50"]
    turn: Float[Array, "*B 3"]
    neck: Float[Array, "*B 3"]
    jaw: Float[Array, "*B 3"]
    log_scale: Float[Array, "*B"]
    transl: Float[Array, "*B 2"]


class FittedHead(struct.PyTreeNode):
    """The result of `fit_head`.

    Attributes:
        params: head-centered as in `Prediction`: `transl` moves the centroid to the origin.
        camera: of the crop; with the intrinsics it is a pinhole.
        cost, first_cost: see `levenberg_marquardt.Minimum`.
        residual: root mean square distance of the points that were believed, pixels of the crop.
        sigma: standard deviation of the 68 landmarks in the image, pixels of the crop.
    """

    params: HeadParams
    camera: Camera
    cost: Float[Array, "*B"]
    first_cost: Float[Array, "*B"]
    residual: Float[Array, "*B"]
    sigma: Float[Array, "*B 68"]


class FacePoints(struct.PyTreeNode):
    """The points of the face mesh on a head model, and the head's centroid.

    Attributes:
        points: all 468.
        some: those that the fit compares; the others lie between them.
        some_ids: which of the 468 these are.
        center, center_weights: see `partial_skinning.centroid`.
    """

    points: PartialModel
    some: PartialModel
    some_ids: Int[Array, "N"]
    center: PartialModel
    center_weights: Float[Array, "J"]

    def pose(self, params: HeadParams) -> Float[Array, "468 3"]:
        """Head-centered points, meters; `params.transl` has no effect."""
        return self._pose(self.points, params)

    def pose_some(self, params: HeadParams) -> Float[Array, "N 3"]:
        """`pose` for the points `some_ids`."""
        return self._pose(self.some, params)

    def _pose(self, points: PartialModel, params: HeadParams):
        coefficients = jnp.concatenate([params.betas, params.expression])
        still = jnp.zeros_like(params.jaw_pose)
        pose = jnp.stack([params.global_orient, params.neck_pose, params.jaw_pose, still, still])
        rotations = axis_angle_to_matrix(pose)
        center = self.center_weights @ self.center.pose(coefficients, rotations).points
        return points.pose(coefficients, rotations).points - center[None]


def fit_head(
    face: FacePoints,
    detected: Float[Array, "468 4"],
    start: HeadParams,
    start_camera: Camera,
    intrinsics: Intrinsics,
    before: HeadBefore | None = None,
    config: HeadFitConfig = HeadFitConfig(),
) -> FittedHead:
    """Fits one head; for a batch, `vmap` it.

    Args:
        face: of the head model.
        detected: see `Detections.face_points`. Without any confidence the start is returned.
        start: of the network; also what some of the priors are centered on.
        start_camera: of the network.
        intrinsics: of the camera.
        before: the head of the photo before, in a sequence.
        config: standard deviations.
    """
    rigid, rigid_camera = rigid_start(face, detected, start, intrinsics)

    def problem(params, cam):
        def residuals(unknowns):
            moved, moved_camera = _unpack(unknowns, params, cam, config)
            points = face.pose_some(moved)
            evidence = _residuals(
                unknowns,
                moved,
                moved_camera,
                points,
                face,
                detected,
                start,
                cam,
                intrinsics,
                config,
            )
            if before is None:
                return evidence
            points_before = face.pose_some(before.params)
            motion = head_motion(before, moved, moved_camera, points, points_before, NUM_BETAS)
            return jnp.concatenate([evidence, motion])

        return residuals

    unchanged = lambda params: _unchanged(params, config)
    cost = lambda params, cam: (problem(params, cam)(unchanged(params)) ** 2).sum()
    seen = (detected[:, 3] > 0.0).any()
    better = seen & (cost(rigid, rigid_camera) < cost(start, start_camera))
    choose = lambda a, b: jax.tree.map(lambda x, y: jnp.where(better, x, y), a, b)
    params, cam = choose(rigid, start), choose(rigid_camera, start_camera)
    first = unchanged(params)
    found = minimize(problem(params, cam), first, config.steps)
    unpacked = _unpack(found.unknowns, params, cam, config)
    fitted, fitted_camera = jax.tree.map(
        lambda new, old: jnp.where(seen, new, old), unpacked, (start, start_camera)
    )
    error = _project(face.pose(fitted), fitted_camera, intrinsics) - detected[:, :2]
    distance = jnp.sqrt((error**2).sum(-1))
    believed = detected[:, 3]
    residual = jnp.sqrt((believed * distance**2).sum() / jnp.maximum(believed.sum(), 1e-6))
    # A landmark is as uncertain as detected points are, and as its own point says it is off.
    own = distance[jnp.array(FACE_68)]
    sigma = jnp.sqrt((config.point * fitted_camera.scale) ** 2 + residual**2 / 2 + own**2 / 2)
    return FittedHead(fitted, fitted_camera, found.cost, found.first_cost, residual, sigma)


def _unchanged(params: HeadParams, config: HeadFitConfig) -> HeadUnknowns:
    """The unknowns for which `_unpack` gives `params` and the camera of the start."""
    return HeadUnknowns(
        betas=params.betas[:NUM_BETAS] / config.betas,
        expression=params.expression / config.expression,
        turn=jnp.zeros_like(params.global_orient),
        neck=params.neck_pose,
        jaw=params.jaw_pose,
        log_scale=jnp.zeros_like(params.betas[0]),
        transl=jnp.zeros_like(params.betas[:2]),
    )


def _unpack(unknowns: HeadUnknowns, params: HeadParams, cam: Camera, config: HeadFitConfig):
    """Parameters and camera from the unknowns, relative to the start."""
    orient = axis_angle_to_matrix(params.global_orient) @ axis_angle_to_matrix(unknowns.turn)
    moved = params.replace(
        betas=jnp.concatenate([config.betas * unknowns.betas, params.betas[NUM_BETAS:]]),
        expression=config.expression * unknowns.expression,
        global_orient=matrix_to_axis_angle(orient),
        neck_pose=unknowns.neck,
        jaw_pose=unknowns.jaw,
    )
    scale = cam.scale * jnp.exp(config.log_scale * unknowns.log_scale)
    transl = cam.transl + cam.scale * config.transl * unknowns.transl
    return moved, Camera(scale, transl)


def _project(points, cam, intrinsics):
    return camera.project_scaled_perspective(
        points, cam.scale, cam.transl, intrinsics.focal_length, intrinsics.camera_center
    )


def _residuals(
    unknowns, moved, moved_camera, points, face, detected, network, cam, intrinsics, config
):
    """Points, depth and priors; `cam` is the camera of the start."""
    detected = detected[face.some_ids]
    pixels = _project(points, moved_camera, intrinsics)
    confidence = detected[:, 3:]
    count = jnp.maximum(confidence.sum(), 1.0)
    weight = jnp.sqrt(confidence * jnp.minimum(1.0, config.independent_points / count))
    sigma = jnp.sqrt((cam.scale * config.point) ** 2 + config.point_pixels**2)
    image = weight * robust((pixels - detected[:, :2]) / sigma, config.outlier)

    mean = lambda values: (confidence * values).sum() / count
    depth = points[:, 2:] * cam.scale - detected[:, 2:3]
    depth = weight * (depth - mean(depth)) / (cam.scale * config.relative_depth)

    betas, expression = moved.betas[:NUM_BETAS], moved.expression
    too_large = lambda x: jax.nn.relu(jnp.abs(x) - config.largest_coefficient) / config.excess
    jaw = unknowns.jaw
    priors = [
        unknowns.betas,
        unknowns.expression,
        (betas - network.betas[:NUM_BETAS]) / config.betas_from_network,
        (expression - network.expression) / config.expression_from_network,
        too_large(betas),
        too_large(expression),
        (unknowns.neck - network.neck_pose) / config.neck,
        jaw[:1] / config.jaw,
        jax.nn.relu(-jaw[:1]) / config.closed_jaw,
        jaw[1:] / config.jaw_sideways,
        unknowns.turn / config.orient,
        unknowns.log_scale[None],
        unknowns.transl,
    ]
    return jnp.concatenate([image.ravel(), depth.ravel(), *priors])


def rigid_start(
    face: FacePoints, detected: Float[Array, "468 4"], params: HeadParams, intrinsics: Intrinsics
) -> tuple[HeadParams, Camera]:
    """A neutral head, turned, scaled and moved onto the detected points (Umeyama 1991).

    Args:
        face: of the head model.
        detected: see `Detections.face_points`.
        params: give the neck and what is not fitted.
        intrinsics: of the camera.
    """
    neutral = params.replace(
        betas=jnp.zeros_like(params.betas),
        expression=jnp.zeros_like(params.expression),
        global_orient=jnp.zeros_like(params.global_orient),
        neck_pose=jnp.zeros_like(params.neck_pose),
        jaw_pose=jnp.zeros_like(params.jaw_pose),
    )
    # Equal weights where nothing was seen: any finite answer will do.
    confidence = detected[:, 3]
    weights = jnp.where(confidence.any(), confidence, 1.0)
    source = face.pose(neutral)
    scale, rotation, _ = procrustes(source, detected[:, :3], weights)
    params = neutral.replace(global_orient=matrix_to_axis_angle(rotation))
    mean = lambda points: (weights[:, None] * points).sum(0) / weights.sum()
    # The origin of the head lies behind the face: move it so that the face's center projects right.
    center = rotation @ mean(source)
    depth_ratio = 1.0 + scale * center[2] / intrinsics.focal_length
    scale = scale * depth_ratio
    from_center = (mean(detected[:, :2]) - intrinsics.camera_center) * depth_ratio
    transl = intrinsics.camera_center + from_center - scale * center[:2]
    return params, Camera(jnp.maximum(scale, 1.0), transl)
