"""The template of hand and head."""

import jax
import numpy as np
import pytest

from dice_jax.body_models.hierarchy import downsample
from dice_jax.body_models.mano import pose_hand
from dice_jax.models import presets
from dice_jax.models.config import ModelConfig
from dice_jax.models.template import template_in_view, template_queries
from dice_jax.structs import HandParams


def test_queries_are_centered_templates(bodies):
    queries = np.asarray(template_queries(*bodies))
    hand, head = queries[89:284], queries[284:]
    np.testing.assert_allclose([hand.mean(0), head.mean(0)], 0.0, atol=1e-6)
    # Each coarse vertex is a vertex of the template, moved by the same offset.
    for part, model in ((hand, bodies[0]), (head, bodies[1])):
        offsets = np.asarray(model.v_template)[:, None] - part[:3]
        best = [{tuple(row) for row in np.round(offsets[:, k], 5)} for k in range(3)]
        assert set.intersection(*best)
    # In OpenPose's order 4 is the tip of the thumb and 20 that of the little finger. Along z they
    # are on opposite sides of the wrist.
    assert queries[4, 2] > queries[0, 2] > queries[20, 2]
    # Landmark 8 is the chin, 27 the bridge of the nose.
    assert queries[21 + 8, 1] < queries[21 + 27, 1]


def test_queries_of_the_mean_pose_are_those_of_the_posed_hand(bodies, rng):
    hand, head = bodies
    hand = hand.replace(pose_mean=rng.normal(scale=0.3, size=45).astype(np.float32))
    flat, posed = (template_queries(hand, head, mean_pose=mean) for mean in (False, True))
    params = HandParams(np.zeros(10), np.zeros(3), np.asarray(hand.pose_mean), np.zeros(3))
    mesh = pose_hand(hand, jax.tree.map(np.float32, params))
    coarse = downsample(hand.hierarchy, mesh.vertices, 1)
    np.testing.assert_allclose(posed[:21], mesh.keypoints - coarse.mean(0)[None], atol=1e-6)
    np.testing.assert_allclose(posed[89:284], coarse - coarse.mean(0)[None], atol=1e-6)
    assert np.abs(posed[89:284] - flat[89:284]).max() > 0.02
    np.testing.assert_array_equal(posed[21:89], flat[21:89])  # the head is the same
    np.testing.assert_array_equal(posed[284:], flat[284:])


@pytest.mark.parametrize("pose", ["mean", "flat"])
def test_the_configuration_chooses_the_pose_of_the_queries(bodies, pose):
    model = ModelConfig(query_pose=pose)
    expected = template_queries(*bodies, mean_pose=pose == "mean")
    np.testing.assert_array_equal(model.create(*bodies)[1], expected)
    assert presets.full().query_pose == "mean"
    assert presets.release().query_pose == presets.small().query_pose == "flat"


def test_template_in_view_is_a_frontal_head_and_a_hand_with_its_palm_to_the_face(network):
    # Camera axes: x right, y down, z away from the camera.
    points = np.asarray(template_in_view(network[1]))
    hand, head = points[:21], points[21:89]
    chin, nose_tip, right_eye, left_eye = head[8], head[30], head[36], head[45]
    assert chin[1] > nose_tip[1] > right_eye[1]
    assert right_eye[0] < 0 < left_eye[0]  # the person's right is at the left of the image
    assert nose_tip[2] < points[284:, 2].mean() - 0.03
    wrist, thumb, index, little = hand[0], hand[2], hand[5], hand[17]
    assert (hand[[8, 12, 16, 20], 1] < wrist[1] - 0.1).all()  # fingers up
    assert thumb[0] < index[0] < little[0]
    # The back of a right hand: wrist, index and little knuckle are clockwise in the image.
    assert np.cross(index - wrist, little - wrist)[2] > 0
