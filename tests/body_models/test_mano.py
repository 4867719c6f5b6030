"""The hand: MANO's parameters, and keypoints in OpenPose order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax import body_models
from dice_jax.body_models import hand_keypoints

pose_hand = jax.jit(body_models.pose_hand)

# Keypoints of each finger, from the palm outwards, and its first joint in `hand_pose`.
FINGERS = {"thumb": (1, 2, 3, 4), "index": (5, 6, 7, 8), "middle": (9, 10, 11, 12)}
FINGERS |= {"ring": (13, 14, 15, 16), "little": (17, 18, 19, 20)}
FIRST_JOINT = {"index": 0, "middle": 3, "little": 6, "ring": 9, "thumb": 12}
TIPS = [4, 8, 12, 16, 20]


def test_agrees_with_mano_of_body_models(hand, random_hand, tmp_path):
    """100 random hands against an independent implementation that reads MANO's file layout."""
    oracle = pytest.importorskip("body_models.mano.numpy")
    path = tmp_path / "mano.npz"
    np.savez(
        path,
        v_template=hand.v_template,
        shapedirs=hand.shapedirs,
        posedirs=hand.posedirs,
        J_regressor=hand.J_regressor,
        weights=hand.lbs_weights,
        f=hand.faces,
        kintree_table=np.stack([np.array(hand.parents), np.arange(16)]),
        hands_mean=hand.pose_mean,
    )
    mano = oracle.MANO(model_path=path, flat_hand_mean=True)
    params = random_hand()
    inputs = dict(
        hand_pose=np.asarray(params.hand_pose).reshape(100, 15, 3),
        shape=np.asarray(params.betas),
        wrist_rotation=np.asarray(params.global_orient),
        global_translation=np.asarray(params.transl),
    )
    posed = pose_hand(hand, params)
    np.testing.assert_allclose(posed.vertices, mano.forward_vertices(**inputs), atol=1e-5)
    np.testing.assert_allclose(posed.joints, mano.forward_skeleton(**inputs)[..., :3, 3], atol=1e-5)


def test_the_zero_pose_is_the_template(hand, random_hand):
    flat = pose_hand(hand, random_hand(betas=0.0, global_orient=0.0, hand_pose=0.0, transl=0.0))
    np.testing.assert_allclose(flat.vertices[0], hand.v_template, atol=1e-7)


def test_global_orient_rotates_about_the_wrist_and_transl_is_added(hand, random_hand):
    params = random_hand()
    posed = pose_hand(hand, params)
    rotated = pose_hand(hand, params.replace(global_orient=-2.0 * params.global_orient))
    np.testing.assert_allclose(rotated.joints[:, 0], posed.joints[:, 0], atol=1e-6)
    assert np.abs(rotated.joints[:, 1:] - posed.joints[:, 1:]).max() > 1e-2
    step = np.array([0.1, -0.2, 0.3], np.float32)
    moved = pose_hand(hand, params.replace(transl=params.transl + step[None]))
    for name in ("vertices", "joints", "keypoints"):
        expected = np.asarray(getattr(posed, name)) + step
        np.testing.assert_allclose(getattr(moved, name), expected, atol=1e-6)


def test_bending_a_finger_moves_its_own_keypoints_only(hand, random_hand):
    """The farther a keypoint is from the palm, the more it moves."""
    params = random_hand(global_orient=0.0, transl=0.0, hand_pose=0.0)
    rest = np.asarray(pose_hand(hand, params).keypoints)
    for finger, first in FIRST_JOINT.items():
        pose = np.zeros((15, 3), np.float32)
        pose[first : first + 3] = 0.4
        bent = pose_hand(hand, params.replace(hand_pose=jnp.tile(pose.ravel(), (100, 1))))
        travel = np.linalg.norm(np.asarray(bent.keypoints) - rest, axis=-1)
        assert travel[:, FINGERS[finger][0]].max() < 1e-6
        assert (np.diff(travel[:, FINGERS[finger]]) > 1e-3).all()
        elsewhere = sorted(set(range(21)) - set(FINGERS[finger]))
        # Pose correctives and smooth skinning weights have a small effect on the other fingers.
        assert travel[:, elsewhere].max() < 1e-3


def test_keypoints_are_laid_out_as_a_right_hand(hand):
    """At rest, fingers point to -x, the palm faces -y, the thumb is at +z (MANO's right hand)."""
    keypoints = np.asarray(hand_keypoints(hand, hand.v_template))
    for chain in FINGERS.values():
        reach = np.linalg.norm(keypoints[[0, *chain]] - keypoints[0], axis=-1)
        assert (np.diff(reach) > 0).all()
    knuckles = keypoints[[5, 9, 13, 17]]
    assert (np.diff(knuckles[:, 2]) < 0).all()
    assert keypoints[4, 2] > knuckles[:, 2].max()
    assert (keypoints[TIPS[1:], 0] < keypoints[0, 0] - 0.1).all()


def test_tips_are_the_ends_of_the_fingers(hand):
    """No vertex skinned to the last bone of a finger is much farther from it than the tip."""
    vertices, weights = np.asarray(hand.v_template), np.asarray(hand.lbs_weights)
    joints = np.asarray(hand.J_regressor) @ vertices
    for tip, bone in zip(hand.tip_ids, (15, 3, 6, 12, 9)):
        assert weights[tip].argmax() == bone
        own = weights.argmax(-1) == bone
        reach = np.linalg.norm(vertices - joints[bone], axis=-1)
        assert reach[tip] > reach[own].max() - 0.004


def test_regressed_keypoints_are_exact_at_rest_and_close_when_posed(hand, random_hand):
    params = random_hand()
    shaped = pose_hand(hand, params.replace(hand_pose=jnp.zeros((100, 45))))
    np.testing.assert_allclose(hand_keypoints(hand, shaped.vertices), shaped.keypoints, atol=1e-5)
    posed = pose_hand(hand, params)
    error = np.linalg.norm(hand_keypoints(hand, posed.vertices) - posed.keypoints, axis=-1)
    assert error.mean() < 2e-3
    np.testing.assert_allclose(error[:, TIPS], 0, atol=1e-6)
