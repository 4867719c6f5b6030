"""Gestures and hand patches: joint limits, existing names, and the sides that the names state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.body_models import finger_joints, load_hand, load_head, pose_hand
from dice_jax.structs import HandParams
from dice_jax.synthetic import pose
from dice_jax.synthetic.contact_problem import NUM_SECONDARY
from dice_jax.synthetic.near_gestures import NEAR_GESTURES
from dice_jax.synthetic.touch_gestures import BY_PART, TOUCH_GESTURES, TOUCHES_PER_HOUR

ALL = (*TOUCH_GESTURES, *NEAR_GESTURES)


@pytest.fixture(scope="module")
def patches():
    return pose.hand_patches(load_hand())


@pytest.mark.parametrize("gesture", ALL, ids=lambda gesture: gesture.name)
def test_gestures_name_existing_patches_and_regions(gesture, patches):
    head = load_head()
    for name in (gesture.anchor, *gesture.secondary):
        assert len(patches[name]) >= 3, name
    for name in gesture.regions:
        assert head.region(name).sum() >= 10, name
    assert len(gesture.flexion) == 4 and len(gesture.secondary) <= NUM_SECONDARY


def test_parts_of_the_face_are_touched_as_often_as_people_were_seen_to():
    assert len(TOUCH_GESTURES) >= 30
    assert len({gesture.name for gesture in ALL}) == len(ALL)
    for part, rate in TOUCHES_PER_HOUR.items():
        np.testing.assert_allclose(sum(gesture.frequency for gesture in BY_PART[part]), rate)
    # Kwok, Gralton and McLaws (2015): 44 % of all touches are at mouth, eyes and nose.
    inner = sum(TOUCHES_PER_HOUR[part] for part in ("mouth", "eyes", "nose"))
    assert abs(inner / sum(TOUCHES_PER_HOUR.values()) - 0.44) < 0.15
    for part, regions in {"mouth": {"lips"}, "eyes": {"eyelids"}, "nose": {"nose"}}.items():
        assert all(regions & set(gesture.regions) for gesture in BY_PART[part])


def test_sampled_poses_stay_near_the_joint_limits(rng):
    low, high = finger_joints.joint_limits()
    for gesture in ALL:
        values = np.stack([pose.sample_pose(gesture, rng) for _ in range(50)])
        assert values.std(0).max() > 0.03
        excess = np.maximum(low - values, 0) + np.maximum(values - high, 0)
        assert excess.max() < 0.35 and excess.mean() < 0.01, gesture.name


def test_flexed_fingers_curl_towards_the_palm(patches):
    hand = load_hand()
    fist = next(gesture for gesture in ALL if gesture.name == "fist_cheek")
    hand_pose = pose.sample_pose(fist, np.random.default_rng(0), variation=0.0)
    zero = jnp.zeros(3)
    posed = jax.jit(lambda values: pose_hand(hand, HandParams(jnp.zeros(10), zero, values, zero)))
    flat, curled = (posed(jnp.asarray(values, jnp.float32)) for values in (np.zeros(45), hand_pose))
    tips = np.array([8, 12, 16, 20])

    def from_wrist(mesh):
        keypoints = np.asarray(mesh.keypoints)
        return np.linalg.norm(keypoints[tips] - keypoints[:1], axis=-1)

    assert (from_wrist(curled) < 0.65 * from_wrist(flat)).all()
    palm = np.asarray(curled.vertices)[patches["palm"]].mean(0)
    assert np.linalg.norm(np.asarray(curled.keypoints)[tips] - palm, axis=-1).max() < 0.06


def test_patches_lie_on_the_side_that_their_name_states(patches):
    vertices = np.asarray(load_hand().v_template)
    x, y, z = ({name: vertices[ids, axis] for name, ids in patches.items()} for axis in range(3))
    assert y["palm"].mean() < y["back"].mean()
    for finger in ("index", "middle", "ring", "little"):
        assert x[f"{finger}_pad"].max() < x["palm"].min()
        assert y[f"{finger}_pad"].mean() < y[f"{finger}_dorsal"].mean()
    assert z["index_pad"].mean() > z["little_pad"].mean()
