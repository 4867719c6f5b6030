"""IKNets: architecture, frames and orientations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.random_variables import init

from dice_jax.models.config import IKNetConfig
from dice_jax.models.ik_net import HandIKNet, HeadIKNet, IKNet, to_axis_angle
from dice_jax.models.template import FRONTAL_HEAD, PALM_TO_FACE

CENTERED = IKNetConfig(hidden=16, center_inputs=True, orientation="6d", zero_orient=PALM_TO_FACE)


def numpy_iknet(variables, x, variant):
    """The architecture of the paper's figure, or of the released code, in NumPy."""
    params, stats = (
        jax.tree.map(np.float64, variables[name]) for name in ("params", "batch_stats")
    )

    def linear_norm(name, x):
        p, n, s = params[name], params[f"{name}_norm"], stats[f"{name}_norm"]
        normalized = (x @ p["kernel"] + p["bias"] - s["mean"]) / np.sqrt(s["var"] + 1e-5)
        return normalized * n["scale"] + n["bias"]

    relu = lambda x: np.maximum(x, 0)
    block = lambda i, x: relu(linear_norm(f"block_{i}", x))
    if variant == "paper":
        x1 = block(1, x)
        x2 = block(2, x1)
        x3 = block(3, x1 + x2)
        x4 = block(4, x3)
        hidden = block(5, x4) + x3
    else:
        hidden = block(1, x)
        for i in (2, 3):
            inner = relu(linear_norm(f"block_{i}_inner", hidden))
            hidden = relu(hidden + linear_norm(f"block_{i}_outer", inner))
    return hidden @ params["output"]["kernel"] + params["output"]["bias"]


@pytest.mark.parametrize("variant", ["paper", "release"])
def test_the_architecture_is_that_of_the_paper_or_the_release(rng, variant):
    module = IKNet(IKNetConfig(variant=variant, hidden=12), features=7)
    x = jnp.asarray(rng.normal(size=(4, 9)), jnp.float32)
    variables = init(module, rng, x, train=False)
    expected = numpy_iknet(variables, np.float64(x), variant)
    np.testing.assert_allclose(module.apply(variables, x, train=False), expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "release"])
def test_output_sizes_are_those_of_the_paper(variant):
    config = IKNetConfig(variant=variant)

    def sizes(net, count):
        inputs = jnp.zeros((1, count, 3)), jnp.zeros((1, 3))
        run = lambda: net.init_with_output(jax.random.key(0), *inputs, train=False)
        return jax.tree.map(lambda x: x.shape[-1], jax.eval_shape(run))

    hand, hand_variables = sizes(HandIKNet(config), 778)
    head, head_variables = sizes(HeadIKNet(config), 1675)
    assert sum(jax.tree.leaves(hand)) == 61 == hand_variables["params"]["mlp"]["output"]["kernel"]
    assert sum(jax.tree.leaves(head)) == 162 == head_variables["params"]["mlp"]["output"]["kernel"]


def test_with_centered_inputs_the_translation_follows_the_mesh_and_the_origin_has_no_effect(rng):
    module = HandIKNet(CENTERED)
    vertices = jnp.asarray(rng.normal(size=(2, 20, 3)), jnp.float32)
    center = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    shift = jnp.array([[0.3, -0.2, 0.9]])
    variables = init(module, rng, vertices, center, train=False)
    run = jax.jit(lambda variables, v, c: module.apply(variables, v, c, train=False))
    # The origin of the rough meshes has no effect.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        run(variables, vertices, center),
        run(variables, vertices + shift[:, None], center + shift),
    )
    # With an output layer of zeros the translation is that of the rough mesh.
    variables["params"]["mlp"]["output"] = jax.tree.map(
        jnp.zeros_like, variables["params"]["mlp"]["output"]
    )
    np.testing.assert_allclose(
        run(variables, vertices, center).transl, vertices.mean(1) - center, atol=1e-6
    )


def test_a_rotation_of_mesh_and_template_rotates_the_predicted_orientation_only(rng):
    module = HandIKNet(CENTERED)
    vertices = rng.normal(size=(2, 20, 3))
    vertices = jnp.asarray(vertices - vertices.mean(1, keepdims=True), jnp.float32)
    rotations = Rotation.random(2, rng=3)
    matrices, center = jnp.asarray(rotations.as_matrix(), jnp.float32), jnp.zeros((2, 3))
    variables = init(module, rng, vertices, center, train=False)
    run = jax.jit(lambda v, x, orient: module.apply(v, x, center, orient, train=False))
    original = run(variables, vertices, jnp.broadcast_to(jnp.eye(3), (2, 3, 3)))
    rotated = run(variables, jnp.einsum("bij,bnj->bni", matrices, vertices), matrices)
    for name in ("betas", "hand_pose", "transl"):
        got, expected = getattr(rotated, name), getattr(original, name)
        np.testing.assert_allclose(got, expected, atol=1e-4, err_msg=name)
    expected = rotations * Rotation.from_rotvec(original.global_orient)
    difference = expected.inv() * Rotation.from_rotvec(rotated.global_orient)
    np.testing.assert_allclose(difference.magnitude(), 0.0, atol=1e-3)


def test_training_starts_from_the_mean_shape_in_a_frontal_view():
    config = dataclasses.replace(CENTERED, hidden=32, zero_orient=FRONTAL_HEAD)
    head = HeadIKNet(config)
    vertices = jax.random.normal(jax.random.key(0), (8, 15, 3))
    start = jax.jit(lambda key: head.init_with_output(key, vertices, vertices.mean(1), train=False))
    (params, _), _ = start(jax.random.key(1))
    for name in ("betas", "expression", "neck_pose", "jaw_pose"):
        assert np.abs(getattr(params, name)).max() < 0.1
    angle = np.linalg.norm(params.global_orient, axis=-1)
    np.testing.assert_allclose(np.pi - angle, 0.0, atol=0.1)


def test_every_orientation_is_reached_and_the_map_to_it_is_continuous(rng):
    # Axis-angle is not continuous at a rotation of pi; the matrix must be a continuous function of
    # the six numbers there.
    base = Rotation.from_rotvec(PALM_TO_FACE)
    targets = Rotation.random(30, rng=1).as_matrix()
    relative = base.inv().as_matrix() @ targets
    six = np.concatenate([relative[..., 0] - [1, 0, 0], relative[..., 1] - [0, 1, 0]], -1)
    axis_angle = jax.jit(lambda six: to_axis_angle(six, None, CENTERED))
    matrix = lambda six: Rotation.from_rotvec(np.float64(axis_angle(np.float32(six)))).as_matrix()
    np.testing.assert_allclose(matrix(six), targets, atol=1e-4)
    near = matrix(six + 1e-3 * rng.normal(size=six.shape))
    assert np.abs(near - targets).max() < 2e-2


def test_the_gradient_is_finite_for_a_head_that_faces_the_camera():
    config = IKNetConfig(orientation="6d", zero_orient=FRONTAL_HEAD)
    jacobian = jax.jit(jax.jacobian(lambda x: to_axis_angle(x, None, config)))(jnp.zeros(6))
    assert np.isfinite(jacobian).all() and np.abs(jacobian).max() > 0.1
