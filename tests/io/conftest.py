"""A prediction whose answer is known: a pointing hand whose fingertips dent the right cheek."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import assets, flame, mano
from dice_jax.geometry import camera, mesh
from dice_jax.io.meshes import prediction_meshes
from dice_jax.structs import Camera, HandParams, HeadParams, Prediction
from dice_jax.visualization import palette


def touching_prediction(yaw: float = 0.25, dent: float = 0.006) -> Prediction:
    """One image's prediction: meters; the camera puts the head in the middle of the crop."""
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
    spot = np.linalg.norm(head - cheek, axis=-1).argmin()
    # The hand of the template points along -x with its palm down: fingers up, palm away from the
    # camera.
    turn = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    orient = Rotation.from_matrix(
        Rotation.from_euler("x", -55, degrees=True).as_matrix() @ turn
    ).as_rotvec()
    bend = np.tile([0.0, 0.0, 0.25], (15, 1)).reshape(45)
    hand_params = HandParams(jnp.zeros(10), jnp.asarray(orient), jnp.asarray(bend), jnp.zeros(3))
    tips = np.asarray(mano.pose_hand(hand_model, hand_params).keypoints)[[8, 12]].mean(axis=0)
    hand_params = hand_params.replace(
        transl=jnp.asarray(head[spot] - tips - 0.2 * dent * normals[spot])
    )
    hand = mano.pose_hand(hand_model, hand_params)

    near = cKDTree(np.asarray(hand.vertices)).query(head)[0]
    deformations = normals * (dent * np.exp(-((near / 0.012) ** 2)))[:, None]
    hand_near = cKDTree(head).query(np.asarray(hand.vertices))[0]
    scale, transl = 750.0, np.array([112.0, 118.0])
    project = lambda points: camera.project_orthographic(
        points, jnp.float32(scale), jnp.asarray(transl)
    )
    return Prediction(
        hand_vertices=hand.vertices,
        head_vertices=posed.vertices,
        deformations=jnp.asarray(deformations),
        deformed_head_vertices=posed.vertices - deformations,
        hand_keypoints_3d=hand.keypoints,
        head_keypoints_3d=posed.keypoints,
        hand_keypoints_2d=project(hand.keypoints),
        head_keypoints_2d=project(posed.keypoints),
        hand_contact_probs=jnp.asarray(np.exp(-((hand_near / 0.008) ** 2))),
        head_contact_probs=jnp.asarray(np.exp(-((near / 0.008) ** 2))),
        contact_presence=jnp.float32(0.97),
        hand_params=hand_params,
        head_params=head_params,
        camera=Camera(jnp.float32(scale), jnp.asarray(transl, jnp.float32)),
    )


@pytest.fixture(scope="session")
def prediction() -> Prediction:
    return touching_prediction()


@pytest.fixture(scope="session")
def meshes(prediction):
    hand_faces, head_faces = (
        np.asarray(model.faces) for model in (assets.load_hand(), assets.load_head())
    )
    colors = np.tile(palette.HAND, (778, 1)), np.tile(palette.HEAD, (5023, 1))
    return prediction_meshes(prediction, hand_faces, head_faces, *colors)
