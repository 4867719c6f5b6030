"""A known prediction: a pointing hand whose fingertips deform the right cheek."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import assets, flame, mano
from dice_jax.geometry import camera, mesh
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction
from dice_jax.visualization import panels

SCALE, TRANSL = 750.0, np.array([112.0, 118.0])  # pixels; the head is in the middle of the crop
_DEFORMATION_RADIUS, _CONTACT_RADIUS = 0.012, 0.008  # meters


@functools.cache
def touching_prediction(yaw: float = 0.25, depth: float = 0.006) -> Prediction:
    """The prediction of one image.

    Args:
        yaw: of the head, radians.
        depth: of the deformation, meters.
    """
    hand_model, head_model = assets.load_hand(), assets.load_head()
    head_params = HeadParams(
        betas=jnp.zeros(100).at[0].set(0.7),
        expression=jnp.zeros(50),
        global_orient=jnp.array([np.pi * np.cos(yaw / 2), 0.0, np.pi * np.sin(yaw / 2)]),
        neck_pose=jnp.zeros(3),
        jaw_pose=jnp.array([0.1, 0.0, 0.0]),
        transl=jnp.zeros(3),
    )
    posed = flame.pose_head(head_model, head_params)
    head_params = head_params.replace(transl=-flame.head_center(posed.vertices))
    posed = flame.pose_head(head_model, head_params)
    head = np.asarray(posed.vertices)
    normals = np.asarray(mesh.vertex_normals(posed.vertices, head_model.faces))

    cheek = np.asarray(posed.keypoints)[3] * 0.35 + np.asarray(posed.keypoints)[31] * 0.65
    touched = np.linalg.norm(head - cheek, axis=-1).argmin()
    # The template hand points along -x with its palm down. Here fingers point up and the palm faces
    # away from the camera.
    upright = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    tilt = Rotation.from_euler("x", -55, degrees=True)
    orient = (tilt * Rotation.from_matrix(upright)).as_rotvec()
    bend = np.tile([0.0, 0.0, 0.25], (15, 1)).reshape(45)
    hand_params = HandParams(jnp.zeros(10), jnp.asarray(orient), jnp.asarray(bend), jnp.zeros(3))
    tips = np.asarray(mano.pose_hand(hand_model, hand_params).keypoints)[[8, 12]].mean(axis=0)
    transl = head[touched] - tips - 0.2 * depth * normals[touched]
    hand_params = hand_params.replace(transl=jnp.asarray(transl))
    hand = mano.pose_hand(hand_model, hand_params)

    to_hand = cKDTree(np.asarray(hand.vertices)).query(head)[0]
    to_head = cKDTree(head).query(np.asarray(hand.vertices))[0]
    deformations = normals * (depth * np.exp(-((to_hand / _DEFORMATION_RADIUS) ** 2)))[:, None]
    contact = lambda distance: jnp.asarray(np.exp(-((distance / _CONTACT_RADIUS) ** 2)))
    cam_scale, cam_transl = jnp.float32(SCALE), jnp.asarray(TRANSL, jnp.float32)
    project = lambda points: camera.project_orthographic(points, cam_scale, cam_transl)
    return Prediction(
        hand_vertices=hand.vertices,
        head_vertices=posed.vertices,
        deformations=jnp.asarray(deformations),
        deformed_head_vertices=posed.vertices - deformations,
        hand_keypoints_3d=hand.keypoints,
        head_keypoints_3d=posed.keypoints,
        hand_keypoints_2d=project(hand.keypoints),
        head_keypoints_2d=project(posed.keypoints),
        hand_contact_probs=contact(to_head),
        head_contact_probs=contact(to_hand),
        contact_presence=jnp.float32(0.97),
        hand_params=hand_params,
        head_params=head_params,
        camera=Camera(cam_scale, cam_transl),
    )


@pytest.fixture(scope="session")
def prediction() -> Prediction:
    return touching_prediction()


@pytest.fixture(scope="session")
def meshes(prediction):
    """Hand and head of `prediction` in the palette's colors."""
    hand_faces, head_faces = (
        np.asarray(model.faces) for model in (assets.load_hand(), assets.load_head())
    )
    return panels.hand_and_head(prediction, hand_faces, head_faces)
