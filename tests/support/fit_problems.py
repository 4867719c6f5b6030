"""People with known parameters before a known camera, and what detectors see of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax import body_models
from dice_jax.body_models import finger_joints
from dice_jax.constants import CROP_SIZE
from dice_jax.fitting import fit
from dice_jax.geometry.camera import project_scaled_perspective
from dice_jax.structs import Camera, HandParams, HeadParams, Intrinsics, Prediction

FACING = np.array([np.pi, 0.0, 0.0])  # of a head that looks into the camera
# Of the palm and the back of a hand whose fingers point up.
PALM = Rotation.from_matrix([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)


def _array(value):
    return jnp.asarray(value, jnp.float32)


def stack(*trees):
    """A batch of single samples; NumPy arrays, whose types are the same for every test."""
    return jax.tree.map(lambda *x: np.stack([np.asarray(each) for each in x]), *trees)


def tilted(rng, rotation: Rotation, degrees: float) -> np.ndarray:
    """A rotation turned about a random axis by an angle, as axis-angle."""
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * axis / np.linalg.norm(axis))
    return (turn * rotation).as_rotvec()


def random_head(rng, tilt: float = 25.0, **fixed) -> HeadParams:
    """A plausible head, turned by `tilt` degrees; a keyword fixes a parameter."""
    coefficients = lambda size, spread: spread * rng.normal(size=size) * (np.arange(size) < 20)
    values = dict(
        betas=coefficients(100, 0.5),
        expression=coefficients(50, 0.4),
        global_orient=tilted(rng, Rotation.from_rotvec(FACING), tilt),
        neck_pose=rng.normal(0, 0.05, 3),
        jaw_pose=[rng.uniform(0.0, 0.25), 0.0, 0.0],
        transl=np.zeros(3),
    )
    return HeadParams(**{name: _array(value) for name, value in (values | fixed).items()})


def random_hand(rng, tilt: float = 30.0, **fixed) -> HandParams:
    """A plausible hand, its fingers up, turned by `tilt` degrees; a keyword fixes a parameter."""
    low, high = finger_joints.joint_limits()
    middle, half = (low + high) / 2, (high - low) / 2
    relaxed = np.clip(np.zeros(45), middle - 0.8 * half, middle + 0.8 * half)
    bent = np.tile([0.0, 0.0, 0.3], 15)
    pose = np.clip(relaxed + bent + rng.normal(0, 0.15, 45), low, high)
    values = dict(
        betas=0.5 * rng.normal(size=10),
        global_orient=tilted(rng, PALM, tilt),
        hand_pose=pose,
        transl=np.zeros(3),
    )
    return HandParams(**{name: _array(value) for name, value in (values | fixed).items()})


def random_camera(rng) -> tuple[Camera, Intrinsics]:
    """The crop of a face, cut from anywhere in a photo."""
    near_center = lambda spread: _array(CROP_SIZE / 2 + rng.normal(0, spread, 2))
    camera = Camera(_array(rng.uniform(500, 800)), near_center(8))
    return camera, Intrinsics(_array(rng.uniform(400, 1500)), near_center(150))


def project(points, camera: Camera, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels of head-centered points."""
    return np.asarray(
        project_scaled_perspective(
            jnp.asarray(points),
            camera.scale,
            camera.transl,
            intrinsics.focal_length,
            intrinsics.camera_center,
        )
    )


def seen_face(models, params: HeadParams, camera: Camera, intrinsics: Intrinsics) -> np.ndarray:
    """`Detections.face_points` without any error."""
    points = np.asarray(models.face.pose(params))
    pixels = project(points, camera, intrinsics)
    depth = float(camera.scale) * points[:, 2:] + 17.0  # relative to any plane
    return np.concatenate([pixels, depth, np.ones((468, 1))], -1).astype(np.float32)


def centered_head(models, params: HeadParams, camera: Camera) -> fit.PosedHead:
    """A head as if it were fitted, without batch dimension."""
    posed = pose_head(models.head_model, params)
    center = posed.vertices.mean(0)
    zero = jnp.zeros(())
    fitted = fit.FittedHead(params.replace(transl=-center), camera, zero, zero, zero, jnp.ones(68))
    return fit.PosedHead(fitted, posed.vertices - center[None], posed.keypoints - center[None])


def placed_hand(models, params: HandParams, center) -> HandParams:
    """The hand with the mean of its keypoints at `center`, head-centered, meters."""
    mean = pose_hand(models.hand_model, params).keypoints.mean(0)
    return params.replace(transl=params.transl + jnp.asarray(center, jnp.float32) - mean)


def seen_hand(
    models, params: HandParams, camera: Camera, intrinsics: Intrinsics
) -> tuple[np.ndarray, np.ndarray]:
    """`Detections.hand_points` and `Detections.hand_world` without any error."""
    _, _, keypoints = models.hand.pose(params)
    keypoints = np.asarray(keypoints)
    pixels = project(keypoints, camera, intrinsics)
    depth = float(camera.scale) * (keypoints[:, 2:] - keypoints[:1, 2:])
    points = np.concatenate([pixels, depth, np.ones((21, 1))], -1)
    return points.astype(np.float32), keypoints - keypoints.mean(0)


def prediction(
    models,
    hand: HandParams,
    head: HeadParams,
    camera: Camera,
    *,
    presence: float = 0.0,
    hand_contact=None,
    head_contact=None,
    deformations=None,
) -> Prediction:
    """A network's answer with these parameters, without batch dimension.

    Contact probabilities and deformations are zero where not given.
    """
    hand_mesh = pose_hand(models.hand_model, hand)
    head_mesh = pose_head(models.head_model, head)
    center = head_mesh.vertices.mean(0)
    vertices, landmarks = head_mesh.vertices - center[None], head_mesh.keypoints - center[None]
    orthographic = Intrinsics(jnp.asarray(jnp.inf), jnp.zeros(2))
    zeros = lambda given, *shape: jnp.zeros(shape) if given is None else _array(given)
    deformations = zeros(deformations, 5023, 3)
    return Prediction(
        hand_vertices=hand_mesh.vertices,
        head_vertices=vertices,
        deformations=deformations,
        deformed_head_vertices=vertices - deformations,
        hand_keypoints_3d=hand_mesh.keypoints,
        head_keypoints_3d=landmarks,
        hand_keypoints_2d=_array(project(hand_mesh.keypoints, camera, orthographic)),
        head_keypoints_2d=_array(project(landmarks, camera, orthographic)),
        hand_contact_probs=zeros(hand_contact, 778),
        head_contact_probs=zeros(head_contact, 5023),
        contact_presence=_array(presence),
        hand_params=hand,
        head_params=head.replace(transl=-center),
        camera=camera,
    )


def angle_between(first, second) -> float:
    """Degrees between two rotations given as axis-angle."""
    first, second = (Rotation.from_rotvec(np.asarray(x)) for x in (first, second))
    return float(np.rad2deg((first.inv() * second).magnitude()))


def facing(params: HeadParams) -> np.ndarray:
    """Rotation of the skull, of root and neck together, as axis-angle."""
    root, neck = (
        Rotation.from_rotvec(np.asarray(x)) for x in (params.global_orient, params.neck_pose)
    )
    return (root * neck).as_rotvec()
