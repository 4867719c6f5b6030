"""Skin deformation under a fingertip: depends on the tissue, stays local, points outward."""

import numpy as np
import pytest

from dice_jax.body_models import load_hand, load_head
from dice_jax.synthetic import deform, pose
from dice_jax.synthetic.contact_problem import head_skin
from dice_jax.synthetic.penetration import outward_normals


@pytest.fixture(scope="module")
def models():
    return load_hand(), load_head()


@pytest.fixture(scope="module")
def touch(models):
    """Function that pushes the middle fingertip into the middle of a region of the rest head.

    It returns the id of the touched vertex and the `SkinContact`; results are cached.
    """
    hand, head = models
    skin = head_skin(head)
    head_vertices = np.asarray(head.v_template, np.float64)
    normals = outward_normals(head_vertices, head)
    patches, results = pose.hand_patches(hand), {}

    def compute(region, indentation):
        ids = np.flatnonzero(np.asarray(head.region(region)) & skin.touchable)
        points = head_vertices[ids]
        center = ids[np.argmin(np.linalg.norm(points - points.mean(0), axis=-1))]
        # Fingers point along -x at rest: rotate that axis against the normal.
        x = normals[center]
        y = np.cross(x, (0.0, 1.0, 0.1))
        y /= np.linalg.norm(y)
        rotation = np.stack([x, y, np.cross(x, y)], axis=1)
        hand_vertices = np.asarray(hand.v_template, np.float64) @ rotation.T
        hand_vertices += head_vertices[center] - hand_vertices[patches["middle_tip"]].mean(0)
        arguments = hand, head, skin
        shift = deform.shift_to_depth(hand_vertices, head_vertices, indentation, *arguments)
        assert shift is not None
        return center, deform.deform_skin(hand_vertices + shift, head_vertices, *arguments)

    def cached(region, indentation):
        if (region, indentation) not in results:
            results[region, indentation] = compute(region, indentation)
        return results[region, indentation]

    return cached


def depth(contact):
    return np.linalg.norm(contact.deformations, axis=-1)


def test_cheeks_deform_more_than_the_forehead(touch):
    deepest = {}
    for region in ("cheek_right", "cheek_left", "forehead"):
        _, contact = touch(region, 0.010)
        deepest[region] = depth(contact).max()
        assert contact.overlap <= deform.TOLERANCE
    assert 0.004 < deepest["cheek_right"] < 0.014 and 0.004 < deepest["cheek_left"] < 0.014
    assert deepest["forehead"] < 0.004


def test_deformation_grows_with_the_indentation(touch):
    deepest = [depth(touch("cheek_right", value)[1]).max() for value in (0.001, 0.003, 0.006)]
    assert deepest[0] < deepest[1] < deepest[2]


def test_skin_moves_inward_under_the_finger_and_bulges_beside_it(models, touch):
    _, head = models
    center, contact = touch("cheek_right", 0.006)
    vertices = np.asarray(head.v_template)
    moved = depth(contact) > 1e-4
    # deformed = vertices - deformations, so deformations point outward.
    outward = (contact.deformations * outward_normals(vertices, head)).sum(-1)
    away = np.linalg.norm(vertices - vertices[center], axis=-1)
    assert (outward[moved & (away < 0.006)] > 0).all()
    assert 0.0001 < -outward.min() <= 0.4 * outward.max() + 1e-4
    assert away[outward.argmin()] > 0.006
    assert np.linalg.norm(vertices[moved] - vertices[center], axis=-1).max() < 0.05
    assert contact.head_contact.any() and contact.hand_contact.any()


def test_a_distant_hand_deforms_nothing(models):
    hand, head = models
    skin = head_skin(head)
    head_vertices = np.asarray(head.v_template, np.float64)
    hand_vertices = np.asarray(hand.v_template, np.float64) + (1.0, 0, 0)
    contact = deform.deform_skin(hand_vertices, head_vertices, hand, head, skin)
    assert not contact.deformations.any()
    assert not contact.hand_contact.any() and not contact.head_contact.any()
    assert deform.shift_to_depth(hand_vertices, head_vertices, 0.003, hand, head, skin) is None
