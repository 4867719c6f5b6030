"""The same person in another pose: shape, place and camera stay."""

import numpy as np
import pytest
from support.detected_person import touching_person
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax.body_models import flame, mano


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return dice_jax.load(save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny"))


def test_without_changes_nothing_changes(model):
    person = touching_person()
    assert dice_jax.repose(model, person) == person


def test_the_same_parameters_give_the_same_vertices(model):
    person = touching_person()
    (hand,), head = person.hands, person.head
    again = dice_jax.repose(
        model, person, hand_pose=hand.params.hand_pose, jaw_pose=head.params.jaw_pose
    )
    np.testing.assert_allclose(again.hands[0].vertices, hand.vertices, atol=1e-5)
    np.testing.assert_allclose(again.head.vertices, head.vertices, atol=1e-5)
    np.testing.assert_allclose(again.head.keypoints_2d, head.keypoints_2d, atol=0.05)


def test_new_parameters_are_posed_and_the_rest_stays(model, rng):
    person = touching_person()
    pose, jaw = rng.normal(scale=0.3, size=45), np.array([0.4, 0.0, 0.0])
    new = dice_jax.repose(model, person, hand_pose=pose, jaw_pose=jaw)
    params = person.hands[0].params.replace(hand_pose=pose.astype(np.float32))
    expected = mano.pose_hand(model.hand_model, params).vertices
    np.testing.assert_allclose(new.hands[0].vertices, expected, atol=1e-5)
    params = person.head.params.replace(jaw_pose=jaw.astype(np.float32))
    expected = flame.pose_head(model.head_model, params).vertices
    np.testing.assert_allclose(new.head.vertices, expected, atol=1e-5)
    assert not new.head.deformations.any() and not new.hands[0].contact_probs.any()
    assert new.photo_camera == person.photo_camera
    np.testing.assert_array_equal(new.head.params.betas, person.head.params.betas)


def test_one_hand_alone(model):
    person = touching_person()
    assert dice_jax.repose(model, person, side="left", hand_pose=np.zeros(45)) == person
    moved = dice_jax.repose(model, person, side="right", hand_pose=np.zeros(45))
    assert np.abs(moved.hands[0].vertices - person.hands[0].vertices).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hand_pos": 1}, "hand_pos cannot be changed; the parameters are hand_pose"),
        ({"hand_pose": np.zeros(44)}, r"hand_pose must have the shape \(45,\), got \(44,\)"),
        ({"jaw_pose": [np.nan, 0, 0]}, "not finite"),
        ({"jaw_pose": "open"}, "jaw_pose must be 3 numbers"),
        ({"side": "both"}, 'side must be "right" or "left"'),
    ],
)
def test_wrong_changes_are_named(model, changes, message):
    with pytest.raises(ValueError, match=message):
        dice_jax.repose(model, touching_person(), **changes)
