"""The dent under a pressed finger: by tissue, local, out of the way."""

import numpy as np
import pytest

from dice_jax.body_models import load_hand, load_head
from dice_jax.synthetic import deform, pose, proximity, start


@pytest.fixture(scope="module")
def models():
    return load_hand(), load_head()


def pressed(models, region, press):
    """The flat hand's index finger tip pressed into the middle of a region of the rest head, as
    deep as allowed.
    """
    hand, head = models
    skin = start.head_skin(head)
    head_vertices = np.asarray(head.v_template, np.float64)
    normals = proximity.outward_normals(head_vertices, head)
    ids = np.flatnonzero(np.asarray(head.region(region)) & skin.touchable)
    center = ids[
        np.argmin(np.linalg.norm(head_vertices[ids] - head_vertices[ids].mean(0), axis=-1))
    ]
    # Fingers point along -x at rest: turn them against the normal.
    x = normals[center]
    y = np.cross(x, (0.0, 1.0, 0.1))
    y /= np.linalg.norm(y)
    rotation = np.stack([x, y, np.cross(x, y)], axis=1)
    hand_vertices = np.asarray(hand.v_template, np.float64) @ rotation.T
    tip = hand_vertices[pose.hand_patches(hand)["middle_tip"]].mean(0)
    hand_vertices += head_vertices[center] - tip
    shift = deform.seat(hand_vertices, head_vertices, press, hand, head, skin)
    assert shift is not None
    return (
        center,
        hand_vertices + shift,
        deform.press_skin(hand_vertices + shift, head_vertices, hand, head, skin),
    )


def test_cheeks_give_way_and_foreheads_hardly(models):
    depth = {}
    for region in ("cheek_right", "cheek_left", "forehead"):
        _, _, dent = pressed(models, region, press=0.010)
        depth[region] = np.linalg.norm(dent.deformations, axis=-1).max()
        assert dent.overlap <= deform.TOLERANCE
    assert 0.004 < depth["cheek_right"] < 0.014 and 0.004 < depth["cheek_left"] < 0.014
    assert depth["forehead"] < 0.004


def test_a_light_touch_dents_less(models):
    depth = [
        np.linalg.norm(pressed(models, "cheek_right", press)[2].deformations, axis=-1).max()
        for press in (0.001, 0.003, 0.006)
    ]
    assert depth[0] < depth[1] < depth[2]


def test_the_dent_goes_inward_and_stays_near(models):
    _, head = models
    center, _, dent = pressed(models, "cheek_right", press=0.006)
    vertices = np.asarray(head.v_template)
    moved = np.linalg.norm(dent.deformations, axis=-1) > 1e-4
    normals = proximity.outward_normals(vertices, head)
    # deformed = vertices - deformations, so deformations point outward.
    assert ((dent.deformations * normals).sum(-1)[moved] > 0).mean() > 0.98
    assert np.linalg.norm(vertices[moved] - vertices[center], axis=-1).max() < 0.05
    assert dent.head_contact.any() and dent.hand_contact.any()


def test_nothing_happens_far_away(models):
    hand, head = models
    skin = start.head_skin(head)
    hand_vertices = np.asarray(hand.v_template, np.float64) + (1.0, 0, 0)
    dent = deform.press_skin(
        hand_vertices, np.asarray(head.v_template, np.float64), hand, head, skin
    )
    assert (
        not dent.deformations.any() and not dent.hand_contact.any() and not dent.head_contact.any()
    )
    assert (
        deform.seat(hand_vertices, np.asarray(head.v_template, np.float64), 0.003, hand, head, skin)
        is None
    )


def test_depths_agree_with_an_independent_library(models, rng):
    import trimesh

    _, head = models
    vertices = np.asarray(head.v_template, np.float64)
    surface = ~np.asarray(head.cavity)
    # Lips, lids and ears fold onto themselves at rest, where inside is a matter of definition.
    plain = np.stack(
        [head.region(name) for name in ("cheek_right", "forehead", "chin", "temple_left", "nose")]
    )
    ids = rng.choice(np.flatnonzero(plain.any(0) & surface), 300)
    points = vertices[ids] + rng.normal(0, 0.006, (300, 3))
    found = proximity.depths(points, vertices, head, surface)
    faces = np.asarray(head.faces)
    skin = trimesh.Trimesh(vertices, faces[surface[faces].all(-1)], process=False)
    _, distance, _ = trimesh.proximity.closest_point(skin, points)
    near = distance < proximity.REACH - 1e-5
    within = trimesh.Trimesh(vertices, np.asarray(head.closed_faces), process=False).contains(
        points
    )
    np.testing.assert_allclose(
        found.depth[near], np.where(within, distance, -distance)[near], atol=1e-5
    )
    ours = (vertices[found.faces] * found.barycentrics[..., None]).sum(1)
    np.testing.assert_allclose(
        np.linalg.norm(ours - points, axis=-1)[near], distance[near], atol=1e-5
    )
    assert np.isneginf(found.depth[distance > proximity.REACH + 1e-5]).all()
