"""The template of hand and head."""

import numpy as np

from dice_jax.models.template import template_in_view, template_queries


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
