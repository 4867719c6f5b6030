"""Gestures: within the joints' limits, patches that exist and lie where their names say."""

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.body_models import load_hand, load_head, pose_hand
from dice_jax.structs import HandParams
from dice_jax.synthetic import pose

ALL = (*pose.GESTURES, *pose.NEAR_GESTURES)


@pytest.mark.parametrize("gesture", ALL, ids=lambda gesture: gesture.name)
def test_gestures_name_real_patches_and_regions(gesture):
    patches, head = pose.hand_patches(load_hand()), load_head()
    for name in (gesture.anchor, *gesture.also):
        assert len(patches[name]) >= 3, name
    for name in gesture.regions:
        assert head.region(name).sum() >= 10, name
    assert len(gesture.bends) == 4 and len(gesture.also) <= 4


def test_jittered_gestures_stay_within_the_joints(rng):
    low, high = pose.pose_limits()
    for gesture in ALL:
        values = np.stack([pose.gesture_pose(gesture, rng) for _ in range(50)])
        assert values.std(0).max() > 0.03
        over = np.maximum(low - values, 0) + np.maximum(values - high, 0)
        assert over.max() < 0.35 and over.mean() < 0.01, gesture.name


def test_bent_fingers_curl_to_the_palm():
    hand = load_hand()
    fist = next(gesture for gesture in ALL if gesture.name == "fist_cheek")
    zero = jnp.zeros(3)
    angles = jnp.asarray(
        pose.gesture_pose(fist, np.random.default_rng(0), looseness=0.0), jnp.float32
    )
    flat = pose_hand(hand, HandParams(jnp.zeros(10), zero, jnp.zeros(45), zero))
    curled = pose_hand(hand, HandParams(jnp.zeros(10), zero, angles, zero))
    tips = np.array([8, 12, 16, 20])
    from_wrist = lambda mesh: np.linalg.norm(
        np.asarray(mesh.keypoints)[tips] - np.asarray(mesh.keypoints)[0], axis=-1
    )
    assert (from_wrist(curled) < 0.65 * from_wrist(flat)).all()
    palm = np.asarray(curled.vertices)[pose.hand_patches(hand)["palm"]].mean(0)
    assert np.linalg.norm(np.asarray(curled.keypoints)[tips] - palm, axis=-1).max() < 0.06


def test_patches_are_on_the_sides_they_are_named_after():
    hand = load_hand()
    vertices, patches = np.asarray(hand.v_template), pose.hand_patches(hand)
    assert vertices[patches["palm"], 1].mean() < vertices[patches["back"], 1].mean()
    for finger in ("index", "middle", "ring", "little"):
        assert vertices[patches[f"{finger}_pad"], 0].max() < vertices[patches["palm"], 0].min()
        assert (
            vertices[patches[f"{finger}_pad"], 1].mean()
            < vertices[patches[f"{finger}_dorsal"], 1].mean()
        )
    assert vertices[patches["index_pad"], 2].mean() > vertices[patches["little_pad"], 2].mean()
