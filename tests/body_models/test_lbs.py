"""Skinning: exact at rest, rigid under root rotations, differentiable, equal to smplx."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dice_jax import body_models
from dice_jax.body_models.lbs import forward_kinematics
from dice_jax.geometry.rotations import axis_angle_to_matrix

lbs = jax.jit(body_models.lbs)


def random_inputs(rng, model, *batch, spread=0.5):
    """Blend coefficients, and rotations by about `spread` radians as matrices and axis-angles."""
    angles = rng.normal(0, spread, (*batch, len(model.parents), 3))
    rotations = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix()
    rotations = rotations.reshape(*angles.shape, 3)
    coefficients = rng.normal(0, 1, (*batch, model.shapedirs.shape[-1]))
    return jnp.asarray(coefficients, jnp.float32), jnp.asarray(rotations, jnp.float32), angles


def identities(model):
    return jnp.broadcast_to(jnp.eye(3), (len(model.parents), 3, 3))


def test_rest_pose_is_the_template(model):
    vertices, joints = lbs(model, jnp.zeros(model.shapedirs.shape[-1]), identities(model))
    np.testing.assert_allclose(vertices, model.v_template, atol=1e-7)
    np.testing.assert_allclose(joints, model.J_regressor @ model.v_template, atol=1e-6)


def test_unposed_shape_is_linear_in_the_coefficients(model, rng):
    coefficients, _, _ = random_inputs(rng, model, 2)
    shape = lambda c: np.asarray(lbs(model, c, identities(model))[0] - model.v_template)
    blend = 0.3 * coefficients[0] - 2.0 * coefficients[1]
    expected = 0.3 * shape(coefficients[0]) - 2.0 * shape(coefficients[1])
    np.testing.assert_allclose(shape(blend), expected, atol=1e-6)


def test_root_rotation_is_rigid_about_the_root_joint(model, rng):
    coefficients, rotations, _ = random_inputs(rng, model)
    root_rotation = jnp.asarray(Rotation.random(random_state=1).as_matrix(), jnp.float32)
    vertices, joints = lbs(model, coefficients, rotations)
    rotated = lbs(model, coefficients, rotations.at[0].set(root_rotation @ rotations[0]))
    root = joints[:1]
    np.testing.assert_allclose(rotated[1][:1], root, atol=1e-6)
    np.testing.assert_allclose(rotated[0], (vertices - root) @ root_rotation.T + root, atol=2e-6)
    np.testing.assert_allclose(rotated[1], (joints - root) @ root_rotation.T + root, atol=2e-6)


def test_a_joint_moves_only_vertices_skinned_to_it_or_its_descendants(model, rng):
    """Without pose correctives, which act on all vertices."""
    plain = model.replace(posedirs=jnp.zeros_like(model.posedirs))
    _, rotations, _ = random_inputs(rng, model)
    rest = np.asarray(model.v_template)
    for joint in range(1, len(model.parents)):
        descendants = {joint}
        for child in range(joint + 1, len(model.parents)):
            if model.parents[child] in descendants:
                descendants.add(child)
        free = np.asarray(model.lbs_weights)[:, sorted(descendants)].sum(-1) == 0
        pose = identities(model).at[joint].set(rotations[joint])
        vertices, _ = lbs(plain, jnp.zeros(model.shapedirs.shape[-1]), pose)
        moved = np.linalg.norm(vertices - rest, axis=-1)
        assert moved[free].max(initial=0) < 1e-6
        assert moved[~free].max() > 1e-3


def test_pose_correctives_are_weighted_by_rotation_minus_identity(model, rng):
    """With all skinning weight on a fixed root, only the correctives move vertices."""
    rooted = model.replace(lbs_weights=jnp.zeros_like(model.lbs_weights).at[:, 0].set(1.0))
    _, rotations, _ = random_inputs(rng, model)
    rotations = rotations.at[0].set(jnp.eye(3))
    vertices, _ = lbs(rooted, jnp.zeros(model.shapedirs.shape[-1]), rotations)
    weights = (np.asarray(rotations[1:]) - np.eye(3)).ravel()
    expected = np.asarray(model.posedirs) @ weights
    np.testing.assert_allclose(vertices - model.v_template, expected, atol=1e-6)


def test_a_batch_equals_its_elements(model, rng):
    coefficients, rotations, _ = random_inputs(rng, model, 2, 3)
    vertices, joints = lbs(model, coefficients, rotations)
    assert vertices.shape == (2, 3, *model.v_template.shape)
    for i in range(2):
        for j in range(3):
            one_vertices, one_joints = lbs(model, coefficients[i, j], rotations[i, j])
            np.testing.assert_allclose(vertices[i, j], one_vertices, atol=1e-6)
            np.testing.assert_allclose(joints[i, j], one_joints, atol=1e-6)


def test_forward_kinematics_equals_a_product_of_homogeneous_matrices(model, rng):
    _, rotations, _ = random_inputs(rng, model)
    rest = np.asarray(model.J_regressor @ model.v_template, np.float64)
    world = []
    for joint, parent in enumerate(model.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = rest[joint] - (rest[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    world = np.stack(world)
    world_rotations, joints = forward_kinematics(
        model.parents, rotations, jnp.asarray(rest, jnp.float32)
    )
    np.testing.assert_allclose(world_rotations, world[:, :3, :3], atol=1e-5)
    np.testing.assert_allclose(joints, world[:, :3, 3], atol=1e-6)


def test_posing_keeps_the_lengths_of_bones(model, rng):
    coefficients, rotations, _ = random_inputs(rng, model, spread=1.5)
    _, rest = lbs(model, coefficients, identities(model))
    _, posed = lbs(model, coefficients, rotations)
    parents = np.array(model.parents[1:])
    bones = lambda joints: np.asarray(joints)[1:] - np.asarray(joints)[parents]
    length = lambda joints: np.linalg.norm(bones(joints), axis=-1)
    np.testing.assert_allclose(length(posed), length(rest), atol=1e-6)


def test_gradients_equal_finite_differences(model, rng):
    """In double precision at a random pose and at rest, where axis-angles are singular."""
    with jax.enable_x64(True):
        is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
        double = jax.tree.map(lambda x: x.astype(jnp.float64) if is_float(x) else x, model)
        coefficients, _, angles = random_inputs(rng, model)
        vertex_weights = rng.normal(size=model.v_template.shape)
        joint_weights = rng.normal(size=angles.shape)

        @jax.jit
        @jax.value_and_grad
        def value_and_grad(point):
            vertices, joints = body_models.lbs(double, point[0], axis_angle_to_matrix(point[1]))
            return (vertex_weights * vertices).sum() + (joint_weights * joints).sum()

        step = 1e-5
        for start in (angles, np.zeros_like(angles)):
            point = (np.asarray(coefficients, np.float64), start)
            _, gradient = value_and_grad(point)
            for moved in ((1, 0), (0, 1)):
                direction = [on * rng.normal(size=part.shape) for on, part in zip(moved, point)]
                value = lambda sign, point=point, direction=direction: value_and_grad(
                    tuple(p + sign * step * d for p, d in zip(point, direction))
                )[0]
                slope = (value(1) - value(-1)) / (2 * step)
                expected = sum((g * d).sum() for g, d in zip(gradient, direction))
                np.testing.assert_allclose(expected, slope, rtol=1e-6)


def test_agrees_with_smplx(model, rng):
    """100 random poses, with smplx in double precision."""
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("smplx.lbs")
    coefficients, rotations, angles = random_inputs(rng, model, 100)
    tensor = lambda array: torch.tensor(np.asarray(array, np.float64))
    posedirs = np.asarray(model.posedirs)
    with torch.no_grad():
        expected_vertices, expected_joints = oracle.lbs(
            tensor(coefficients),
            tensor(angles).reshape(100, -1),
            tensor(model.v_template)[None],
            tensor(model.shapedirs),
            tensor(posedirs.reshape(-1, posedirs.shape[-1]).T),
            tensor(model.J_regressor),
            torch.tensor(model.parents),
            tensor(model.lbs_weights),
        )
    vertices, joints = lbs(model, coefficients, rotations)
    np.testing.assert_allclose(vertices, expected_vertices.numpy(), atol=1e-6)
    np.testing.assert_allclose(joints, expected_joints.numpy(), atol=1e-6)
