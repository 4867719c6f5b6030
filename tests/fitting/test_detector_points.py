"""The points of landmark networks on the body models: on the skin, symmetric, transferable."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from support import fit_problems

from dice_jax.body_models import assets
from dice_jax.body_models.landmarks import FACE_68, MIRRORED_FACE_POINTS, MIRRORED_LANDMARKS
from dice_jax.fitting import detector_points


def at_rest(model, faces_idx, bary_coords):
    """Points on the template, meters."""
    corners = np.asarray(model.v_template, np.float64)[np.asarray(model.faces)[faces_idx]]
    return (corners * np.asarray(bary_coords)[..., None]).sum(1)


def other_head(rng, scale=1.1):
    """The open head, larger, with the triangles in another order and starting at other corners."""
    model = assets.load_head()
    order = rng.permutation(len(model.faces))
    faces = np.roll(np.asarray(model.faces), 1, axis=1)[order]
    return model.replace(
        v_template=scale * model.v_template,
        faces=jnp.asarray(faces),
        lmk_faces_idx=jnp.asarray(np.argsort(order)[np.asarray(model.lmk_faces_idx)], jnp.int32),
        lmk_bary_coords=jnp.roll(model.lmk_bary_coords, 1, axis=1),
    )


@pytest.fixture(scope="module", params=["open", "other"])
def head(request):
    return assets.load_head() if request.param == "open" else other_head(np.random.default_rng(0))


@pytest.fixture(scope="module")
def points(head):
    return detector_points.face_mesh_points(head)


def test_points_lie_on_triangles_of_the_skin(head, points):
    faces_idx, bary_coords = points
    assert len(faces_idx) == len(bary_coords) == 468
    np.testing.assert_allclose(bary_coords.sum(-1), 1.0, atol=1e-5)
    assert bary_coords.min() >= -1e-6
    assert not np.asarray(head.cavity)[np.asarray(head.faces)[faces_idx]].all(-1).any()


def test_points_are_symmetric(head, points):
    rest = at_rest(head, *points)
    apart = cKDTree(rest).query(rest * [-1.0, 1.0, 1.0])[0]
    assert apart.max() < 1e-3


def test_landmarks_of_the_inner_face_are_the_head_models_own(head, points):
    """iBUG's jaw contour is no fixed part of the skin; the wings of the nose are drawn wider."""
    own = at_rest(head, np.asarray(head.lmk_faces_idx), head.lmk_bary_coords)
    apart = np.linalg.norm(at_rest(head, *points)[list(FACE_68)] - own, axis=-1)
    wings = [31, 35]
    assert np.delete(apart, [*range(17), *wings]).max() < 3e-3
    assert apart[wings].max() < 7e-3


def test_points_are_transferred_to_another_head(rng):
    """To the same places, however its triangles are numbered."""
    reference, other = assets.load_head(), other_head(rng)
    expected = 1.1 * at_rest(reference, *detector_points.face_mesh_points(reference))
    found = at_rest(other, *detector_points.face_mesh_points(other))
    assert np.linalg.norm(found - expected, axis=-1).max() < 1e-3


def test_posed_points_stay_on_the_posed_skin(models, rng):
    """Within 0.1 mm of the posed corners' interpolation, about the centroid of the vertices."""
    head = models.head_model
    faces_idx, bary_coords = detector_points.face_mesh_points(head)
    for _ in range(3):
        params = fit_problems.random_head(rng)
        vertices = np.asarray(fit_problems.pose_head(head, params).vertices)
        corners = (vertices - vertices.mean(0))[np.asarray(head.faces)[faces_idx]]
        expected = (corners * bary_coords[..., None]).sum(1)
        apart = np.linalg.norm(models.face.pose(params) - expected, axis=-1)
        assert apart.max() < 1e-4


def test_keypoints_are_those_of_the_whole_hand(models, rng):
    """Those of the model exactly, those of the detector within the offsets, at any position."""
    params = fit_problems.random_hand(rng, transl=rng.normal(size=3))
    coarse, keypoints, detector = models.hand.pose(params)
    posed = fit_problems.pose_hand(models.hand_model, params)
    np.testing.assert_allclose(keypoints, posed.keypoints, atol=2e-6)
    ids = models.hand_model.hierarchy.down_ids[0]
    np.testing.assert_allclose(coarse, posed.vertices[ids], atol=2e-6)
    offsets = np.linalg.norm(models.hand.offsets, axis=-1)
    apart = np.linalg.norm(np.asarray(detector) - np.asarray(keypoints), axis=-1)
    np.testing.assert_allclose(apart, offsets, atol=1e-6)
    assert offsets.max() < 0.03


def test_offsets_turn_with_the_hand(models, rng):
    """A rigid motion of the hand moves the detector's keypoints with it."""
    hand = models.hand.replace(offsets=jnp.asarray(0.01 * rng.normal(size=(21, 3)), jnp.float32))
    still = fit_problems.random_hand(rng)
    moved = still.replace(global_orient=jnp.asarray(rng.normal(size=3), jnp.float32))
    squared = lambda x: ((np.asarray(x)[:, None] - np.asarray(x)[None]) ** 2).sum(-1)
    np.testing.assert_allclose(
        squared(hand.pose(moved)[2]), squared(hand.pose(still)[2]), atol=1e-6
    )


def test_mirrored_coefficients_give_the_mirrored_head(models, rng):
    flip, order = np.float32([-1.0, 1.0, 1.0]), np.asarray(models.mirror_ids)
    zeros = dict(global_orient=np.zeros(3), neck_pose=np.zeros(3), jaw_pose=np.zeros(3))
    params = fit_problems.random_head(rng, **zeros)
    mirrored = params.replace(
        betas=params.betas @ models.mirror_betas,
        expression=params.expression @ models.mirror_expression,
    )
    pose = lambda x: np.asarray(fit_problems.pose_head(models.head_model, x).vertices)
    np.testing.assert_allclose(pose(mirrored), pose(params)[order] * flip, atol=5e-4)


def test_models_are_prepared_once(models):
    again = detector_points.prepare(assets.load_hand(), assets.load_head())
    assert again is models


def test_the_old_open_hand_is_replaced(models):
    old = assets.load_hand("open_hand_v1")
    assert not np.array_equal(old.v_template, models.hand_model.v_template)
    prepared = detector_points.prepare(old, assets.load_head())
    assert prepared is models
    assert prepared.hand_model is assets.load_hand()


def test_the_mirror_of_the_face_mesh_pairs_points_at_mirror_images(head):
    points = at_rest(head, *detector_points.face_mesh_points(head))
    apart = np.linalg.norm(points * [-1, 1, 1] - points[MIRRORED_FACE_POINTS], axis=-1)
    assert apart.max() < 4e-3
    landmarks = np.array(FACE_68)
    np.testing.assert_array_equal(MIRRORED_FACE_POINTS[landmarks], landmarks[MIRRORED_LANDMARKS])
    np.testing.assert_array_equal(MIRRORED_FACE_POINTS[MIRRORED_FACE_POINTS], np.arange(468))
    assert len(set(FACE_68)) == 68
