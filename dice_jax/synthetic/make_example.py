"""The labels of a rendered scene, in camera axes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel
from dice_jax.constants import NUM_HAND_KEYPOINTS
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.input_pipeline.schema import Example
from dice_jax.synthetic.placed_hand import PlacedHand
from dice_jax.synthetic.render import Rendering
from dice_jax.synthetic.sample import PinholeCamera
from dice_jax.synthetic.scene_solver import Scene

# A hand counts as present if at least this fraction of its side that faces the camera is visible.
MIN_VISIBILITY = 0.1
_FACE = ("forehead", "cheek_left", "cheek_right", "nose", "lips", "chin", "eyelids")
_DEPTH_SLACK = 0.006  # meters by which a visible vertex may lie behind the depth of its pixel


def make_example(
    scene: Scene, camera: PinholeCamera, rendering: Rendering, hand: BodyModel, head: BodyModel
) -> Example:
    """The image and its labels in camera axes.

    Labels of the hand are those of the right one. Where there is none, they are zeros, and
    `hand_present` is 0. Keypoints are those of the UNDEFORMED body models, projected; their
    confidence is 1 inside the image, 0 outside. The depth of a keypoint is that of the visible
    surface in its pixel, or its own if that surface lies behind it, as it may at an outline.

    Args:
        scene: of `SceneSolver.solve`.
        camera: through which the scene was rendered.
        rendering: of `Renderer.render`.
        hand: the hand model.
        head: the head model.
    """
    person, face = scene.person, scene.face
    coefficients = np.concatenate([person.head_betas, face.expression])
    head_global_orient, head_transl = _to_camera(
        head, coefficients, np.zeros(3), np.zeros(3), camera
    )
    head_keypoints_2d, head_depth = _project(scene.head_keypoints, camera, rendering.depth)
    left_keypoints_2d, _ = _project(scene.left.keypoints, camera, rendering.depth)
    faces = np.asarray(hand.faces)
    visibility = [
        _visibility(placed.vertices, hand_faces, camera, rendering) if placed.is_there else 0.0
        for placed, hand_faces in ((scene.right, faces), (scene.left, faces[:, ::-1]))
    ]
    floats = dict(
        **_hand_labels(scene.right, camera, rendering, hand),
        other_hand_keypoints_2d=left_keypoints_2d * scene.left.is_there,
        head_keypoints_2d=head_keypoints_2d,
        head_keypoints_depth=head_depth,
        head_betas=person.head_betas,
        head_expression=face.expression,
        head_global_orient=head_global_orient,
        head_neck_pose=face.neck_pose,
        head_jaw_pose=face.jaw_pose,
        head_transl=head_transl,
        deformations=scene.deformations @ camera.rotation.T,
        skin_tone=person.skin_tone,
        hand_present=np.greater(visibility, MIN_VISIBILITY),
        hand_visibility=visibility,
        head_visibility=_face_visibility(scene, head, camera, rendering),
        focal_length=camera.focal_length,
        camera_center=camera.camera_center,
    )
    return dict(
        image=np.asarray(rendering.image, np.uint8),
        **{name: np.asarray(value, np.float32) for name, value in floats.items()},
        hand_contact=scene.hand_contact.astype(np.uint8),
        head_contact=scene.head_contact.astype(np.uint8),
        subject=person.subject,
        scene=scene.index,
        gesture=scene.gesture,
        kind=scene.kind.value,
        attempts=scene.attempts,
    )


def _hand_labels(placed: PlacedHand, camera, rendering, model):
    """Keypoints and parameters of the right hand; zeros where there is none."""
    if not placed.is_there:
        return dict(
            hand_keypoints_2d=np.zeros((NUM_HAND_KEYPOINTS, 3)),
            hand_keypoints_depth=np.zeros(NUM_HAND_KEYPOINTS),
            hand_betas=np.zeros(10),
            hand_global_orient=np.zeros(3),
            hand_pose=np.zeros(45),
            hand_transl=np.zeros(3),
        )
    params = placed.params
    global_orient, transl = _to_camera(
        model, params.betas, params.global_orient, params.transl, camera
    )
    keypoints_2d, depth = _project(placed.keypoints, camera, rendering.depth)
    return dict(
        hand_keypoints_2d=keypoints_2d,
        hand_keypoints_depth=depth,
        hand_betas=params.betas,
        hand_global_orient=global_orient,
        hand_pose=params.hand_pose,
        hand_transl=transl,
    )


def _to_camera(model, coefficients, global_orient, transl, camera):
    """`global_orient` and `transl` that pose a model in camera axes.

    A model rotates about its root joint, the camera about the origin; `transl` corrects for the
    difference.
    """
    coefficients = jnp.asarray(coefficients, jnp.float32)
    shaped = model.v_template + model.shapedirs @ coefficients
    root = np.asarray(model.J_regressor[0] @ shaped, np.float64)
    orient = Rotation.from_rotvec(np.asarray(global_orient, np.float64)).as_matrix()
    root_in_camera = camera.rotation @ (root + np.asarray(transl, np.float64)) + camera.transl
    return Rotation.from_matrix(camera.rotation @ orient).as_rotvec(), root_in_camera - root


def _project(keypoints, camera, depth):
    """Pixels with confidence (K, 3), and the depth of what is visible there (K,), meters."""
    points, pixels, inside = _pixels(keypoints, camera, len(depth))
    column, row = np.clip(np.floor(pixels).astype(int), 0, len(depth) - 1).T
    visible = np.where(inside, depth[row, column], np.inf)
    return np.column_stack([pixels, inside]), np.minimum(visible, points[:, 2])


def _pixels(points, camera, size):
    """Points in camera axes, their pixels, and whether these are inside the image."""
    points = points @ camera.rotation.T + camera.transl
    pixels = camera.focal_length * points[:, :2] / points[:, 2:] + camera.camera_center
    return points, pixels, ((pixels >= 0) & (pixels < size)).all(-1)


def _face_visibility(scene, head, camera, rendering):
    """Fraction of the vertices of the face, both halves of it, that can be seen."""
    seen, _ = _seen(scene.head_vertices, np.asarray(head.faces), camera, rendering)
    face = np.any([np.asarray(head.region(name)) for name in _FACE], axis=0)
    return seen[face].mean()


def _visibility(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    camera: PinholeCamera,
    rendering: Rendering,
) -> float:
    """Fraction of the vertices on the side towards the camera that are in view and not hidden."""
    seen, facing = _seen(vertices, faces, camera, rendering)
    return float(seen.sum() / max(facing.sum(), 1))


def _seen(vertices, faces, camera, rendering):
    """Which vertices (V,) can be seen, and which are on the side towards the camera."""
    depth = rendering.surface_depth
    points, pixels, inside = _pixels(vertices, camera, len(depth))
    normals = np.asarray(_normals(points.astype(np.float32), faces))
    facing = (normals * points).sum(-1) < 0
    column, row = np.clip(np.floor(pixels).astype(int), 0, len(depth) - 1).T
    return facing & inside & (points[:, 2] < depth[row, column] + _DEPTH_SLACK), facing


_normals = jax.jit(vertex_normals)
