"""Skinning a few points: exact for vertices and the centroid, close for points on triangles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import fit_problems

from dice_jax.body_models import assets
from dice_jax.body_models.lbs import lbs
from dice_jax.fitting import partial_skinning
from dice_jax.geometry.rotations import axis_angle_to_matrix

_lbs = jax.jit(lbs)
_pose = jax.jit(lambda partial, coefficients, rotations: partial.pose(coefficients, rotations))
MODELS = {"hand": assets.load_hand, "head": assets.load_head}


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]()


def random_pose(rng, model, spread):
    """Coefficients of unit variance, and rotations by about `spread` radians."""
    angles = rng.normal(0, spread, (len(model.parents), 3))
    rotations = Rotation.from_rotvec(angles).as_matrix()
    coefficients = rng.normal(0, 1, model.shapedirs.shape[-1])
    return jnp.asarray(coefficients, jnp.float32), jnp.asarray(rotations, jnp.float32)


def plausible_pose(rng, model):
    if model.kind == "hand":
        params = fit_problems.random_hand(rng, tilt=rng.uniform(0, 180))
        pose = jnp.concatenate([params.global_orient, params.hand_pose]).reshape(-1, 3)
        return params.betas, axis_angle_to_matrix(pose)
    params = fit_problems.random_head(rng, jaw_pose=[rng.uniform(0, 0.4), 0, 0])
    pose = jnp.stack([params.global_orient, params.neck_pose, params.jaw_pose])
    pose = jnp.concatenate([pose, jnp.zeros((2, 3))])
    return jnp.concatenate([params.betas, params.expression]), axis_angle_to_matrix(pose)


def test_vertices_equal_those_of_the_whole_model(model, rng):
    ids = jnp.asarray(rng.permutation(len(model.v_template))[:100])
    partial = partial_skinning.at_vertices(model, ids)
    for spread in (0.0, 0.5, 1.5):
        coefficients, rotations = random_pose(rng, model, spread)
        vertices, joints = _lbs(model, coefficients, rotations)
        posed = _pose(partial, coefficients, rotations)
        np.testing.assert_allclose(posed.points, vertices[ids], atol=2e-6)
        np.testing.assert_allclose(posed.joints, joints, atol=2e-6)


def test_rotations_are_those_of_the_bones(model, rng):
    """Products of the rotations along the kinematic chain."""
    partial = partial_skinning.at_vertices(model, jnp.arange(3))
    coefficients, rotations = random_pose(rng, model, 1.0)
    found = np.asarray(_pose(partial, coefficients, rotations).rotations)
    for joint, parent in enumerate(model.parents):
        above = np.eye(3) if parent < 0 else found[parent]
        np.testing.assert_allclose(found[joint], above @ np.asarray(rotations[joint]), atol=1e-5)


def test_points_on_triangles_move_with_their_corners(model, rng):
    """Exact at rest; within 0.2 mm on a head, and within 3 mm in the creases of a hand."""
    skin = np.flatnonzero(~np.asarray(model.cavity)[np.asarray(model.faces)].any(-1))
    faces_idx = jnp.asarray(rng.choice(skin, 468), jnp.int32)
    barycentrics = jnp.asarray(rng.dirichlet(np.ones(3), 468), jnp.float32)
    at_rest = random_pose(rng, model, 0.0)
    assert largest_error(model, faces_idx, barycentrics, at_rest) < 2e-6
    for _ in range(5):
        pose = plausible_pose(rng, model)
        error = largest_error(model, faces_idx, barycentrics, pose)
        assert error < (2e-4 if model.kind == "head" else 3e-3)


def largest_error(model, faces_idx, barycentrics, pose):
    """Distance from the interpolated corners of the posed mesh, meters."""
    partial = partial_skinning.on_surface(model, faces_idx, barycentrics)
    vertices, _ = _lbs(model, *pose)
    expected = (vertices[model.faces[faces_idx]] * barycentrics[..., None]).sum(1)
    return np.linalg.norm(_pose(partial, *pose).points - expected, axis=-1).max()


def test_the_centroid_is_the_mean_of_all_vertices(model, rng):
    partial, weights = partial_skinning.centroid(model)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)
    for spread in (0.0, 0.5, 1.5):
        coefficients, rotations = random_pose(rng, model, spread)
        vertices, _ = _lbs(model, coefficients, rotations)
        center = weights @ _pose(partial, coefficients, rotations).points
        np.testing.assert_allclose(center, np.asarray(vertices, np.float64).mean(0), atol=2e-6)
