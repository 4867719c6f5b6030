"""The head: FLAME's parameters, and landmarks on its surface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax import body_models
from dice_jax.body_models import head_center, head_landmarks

pose_head = jax.jit(body_models.pose_head)


def test_agrees_with_flame_of_body_models(head, random_head, tmp_path):
    """100 random heads against an independent implementation that reads FLAME's file layout."""
    oracle = pytest.importorskip("body_models.flame.numpy")
    betas, expression = np.split(np.asarray(head.shapedirs), [100], axis=-1)
    # FLAME's file has 300 shape and 100 expression components; ours are the first of each.
    shapedirs = np.zeros((5023, 3, 400), np.float32)
    shapedirs[..., :100], shapedirs[..., 300:350] = betas, expression
    path = tmp_path / "flame.npz"
    np.savez(
        path,
        v_template=head.v_template,
        shapedirs=shapedirs,
        posedirs=head.posedirs,
        J_regressor=head.J_regressor,
        weights=head.lbs_weights,
        f=head.faces,
        kintree_table=np.stack([np.array(head.parents), np.arange(5)]),
    )
    flame = oracle.FLAME(model_path=path)
    params = random_head()
    pad = lambda array, size: np.pad(np.asarray(array), ((0, 0), (0, size - array.shape[-1])))
    eye = np.zeros((100, 3), np.float32)
    inputs = dict(
        head_pose=np.stack([params.neck_pose, params.jaw_pose, eye, eye], 1),
        head_rotation=np.asarray(params.global_orient),
        shape=pad(params.betas, 300),
        expression=pad(params.expression, 100),
        global_translation=np.asarray(params.transl),
    )
    posed = pose_head(head, params)
    np.testing.assert_allclose(posed.vertices, flame.forward_vertices(**inputs), atol=1e-5)
    joints = flame.forward_skeleton(**inputs)[..., :3, 3]
    np.testing.assert_allclose(posed.joints, joints, atol=1e-5)


def test_landmarks_agree_with_smplx(head, random_head):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("smplx.lbs")
    vertices = np.asarray(pose_head(head, random_head()).vertices[:3])
    expected = oracle.vertices2landmarks(
        torch.tensor(vertices),
        torch.tensor(np.asarray(head.faces), dtype=torch.long),
        torch.tensor(np.asarray(head.lmk_faces_idx), dtype=torch.long).repeat(3, 1),
        torch.tensor(np.asarray(head.lmk_bary_coords)).repeat(3, 1, 1),
    )
    landmarks = head_landmarks(head, jnp.asarray(vertices))
    np.testing.assert_allclose(landmarks, expected.numpy(), atol=1e-6)


def test_global_orient_rotates_about_the_root_and_transl_is_added(head, random_head):
    params = random_head()
    posed = pose_head(head, params)
    rotated = pose_head(head, params.replace(global_orient=-2.0 * params.global_orient))
    np.testing.assert_allclose(rotated.joints[:, 0], posed.joints[:, 0], atol=1e-6)
    assert np.abs(rotated.keypoints - posed.keypoints).max() > 1e-2
    step = np.array([0.1, -0.2, 0.3], np.float32)
    moved = pose_head(head, params.replace(transl=params.transl + step[None]))
    for name in ("vertices", "joints", "keypoints"):
        expected = np.asarray(getattr(posed, name)) + step
        np.testing.assert_allclose(getattr(moved, name), expected, atol=1e-6)


def test_opening_the_jaw_lowers_the_chin_and_not_the_forehead(head, random_head):
    zero = dict(betas=0.0, expression=0.0, global_orient=0.0, neck_pose=0.0, transl=0.0)
    closed = pose_head(head, random_head(**zero, jaw_pose=0.0))
    opened = pose_head(head, random_head(**zero, jaw_pose=np.array([0.3, 0, 0])))
    drop = np.asarray(closed.keypoints - opened.keypoints)[0, :, 1]
    assert drop[8] > 0.015  # chin
    assert drop[57] > 0.01  # lower lip
    assert np.abs(drop[[51, 27, 30]]).max() < 0.002  # upper lip, nose
    moved = np.linalg.norm(opened.vertices - closed.vertices, axis=-1)[0]
    assert moved[np.asarray(head.region("forehead"))].max() < 1e-3


def test_landmarks_lie_on_the_skin_in_ibug_order(head):
    """The chin is lowest, brows are above the eyes, the subject's right side comes first."""
    bary = np.asarray(head.lmk_bary_coords)
    assert bary.min() >= -1e-5
    corners = np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]
    assert not np.asarray(head.cavity)[corners].all(-1).any()
    landmarks = np.asarray(head_landmarks(head, head.v_template))
    x, y, z = landmarks.T
    assert y[8] == y.min()
    assert x[0] < -0.05 and x[16] > 0.05  # y up, z out of the face: the subject's right is -x
    assert (np.diff(x[:17]) > 0).all()
    assert y[17:27].min() > y[36:48].max()
    assert y[36:48].min() > y[30] > y[48:68].max()
    assert z[30] == z.max()  # tip of the nose
    assert np.abs(x[[8, 27, 28, 29, 30, 33, 51, 57, 62, 66]]).max() < 0.003
    np.testing.assert_allclose(landmarks[16::-1] * [-1, 1, 1], landmarks[:17], atol=0.004)


def test_eye_joints_lie_inside_the_eyeballs_for_every_shape(head, random_head):
    posed = pose_head(head, random_head(global_orient=0.0, neck_pose=0.0))
    weights = np.asarray(head.lbs_weights)
    for joint in (3, 4):
        ball = np.asarray(posed.vertices)[:, weights[:, joint] > 0.99]
        radius = np.linalg.norm(ball - np.asarray(posed.joints)[:, None, joint], axis=-1)
        assert (radius > 0.005).all() and (radius < 0.025).all()


def test_head_center_is_the_mean_of_the_vertices(head, random_head):
    posed = pose_head(head, random_head())
    expected = np.asarray(posed.vertices).mean(1)
    np.testing.assert_allclose(head_center(posed.vertices), expected, rtol=1e-5)
