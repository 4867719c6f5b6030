"""Rotations: maps are inverse to each other, agree with SciPy, and have exact gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.geometry_oracles import directional_derivative

from dice_jax.geometry import rotations

exponential = jax.jit(rotations.axis_angle_to_matrix)
logarithm = jax.jit(rotations.matrix_to_axis_angle)
compose = jax.jit(rotations.compose_axis_angle)

ANGLES = [0.0, 1e-7, 1e-4, 9.9e-3, 1.01e-2, 0.3, 1.7, 3.0, np.pi - 1e-2, np.pi - 1e-4]


def vectors(rng, angle, count=20):
    """Random axis-angle vectors of one angle, radians."""
    axes = rng.normal(size=(count, 3))
    return (axes / np.linalg.norm(axes, axis=-1, keepdims=True) * angle).astype(np.float32)


@pytest.mark.parametrize("angle", ANGLES)
def test_exponential_and_logarithm_agree_with_scipy(rng, angle):
    axis_angle = vectors(rng, angle)
    expected = Rotation.from_rotvec(axis_angle).as_matrix()
    matrix = exponential(jnp.asarray(axis_angle))
    np.testing.assert_allclose(matrix, expected, atol=5e-7)
    back = logarithm(jnp.asarray(expected, jnp.float32))
    np.testing.assert_allclose(back, axis_angle, atol=2e-6)


def test_a_half_turn_round_trips_up_to_the_sign_of_its_axis(rng):
    axis_angle = vectors(rng, np.pi)
    back = np.asarray(logarithm(exponential(jnp.asarray(axis_angle))))
    sign = np.sign((back * axis_angle).sum(-1, keepdims=True))
    np.testing.assert_allclose(back, sign * axis_angle, atol=5e-6)


def test_angles_beyond_pi_become_the_shorter_rotation(rng):
    axis_angle = vectors(rng, 4.0)
    back = logarithm(exponential(jnp.asarray(axis_angle)))
    np.testing.assert_allclose(back, axis_angle * (4.0 - 2 * np.pi) / 4.0, atol=3e-6)


def test_random_rotations_are_proper_and_uniform():
    matrices = np.asarray(rotations.random_rotation(jax.random.key(0), (4, 5000)))
    assert matrices.shape == (4, 5000, 3, 3)
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, -1, -2),
        np.broadcast_to(np.eye(3), matrices.shape),
        atol=2e-6,
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=2e-6)
    # Under the Haar measure every entry has mean 0 and variance 1/3; the trace has variance 1.
    flat = matrices.reshape(-1, 3, 3)
    np.testing.assert_allclose(flat.mean(0), 0.0, atol=0.025)
    np.testing.assert_allclose((flat**2).mean(0), 1 / 3, atol=0.015)
    np.testing.assert_allclose(np.trace(flat, axis1=1, axis2=2).var(), 1.0, atol=0.05)


def test_quaternions_round_trip_with_positive_w_and_agree_with_scipy():
    matrices = rotations.random_rotation(jax.random.key(1), (300,))
    quaternions = np.asarray(rotations.matrix_to_quaternion(matrices))
    assert (quaternions[:, 0] >= 0).all()
    expected = Rotation.from_matrix(np.asarray(matrices, np.float64)).as_quat(
        canonical=True, scalar_first=True
    )
    np.testing.assert_allclose(quaternions, expected, atol=2e-6)
    back = rotations.quaternion_to_matrix(3.0 * quaternions)
    np.testing.assert_allclose(back, matrices, atol=2e-6)


def test_composition_applies_the_second_rotation_first(rng):
    first, second = vectors(rng, 1.1, 50), vectors(rng, 1.9, 50)
    expected = (Rotation.from_rotvec(first) * Rotation.from_rotvec(second)).as_rotvec()
    found = np.asarray(compose(jnp.asarray(first), jnp.asarray(second)))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    identity = compose(jnp.asarray(first), jnp.asarray(-first))
    np.testing.assert_allclose(identity, 0.0, atol=1e-6)


@jax.jit
@jax.value_and_grad
def weighted_matrix(axis_angle, weights):
    return (rotations.axis_angle_to_matrix(axis_angle) * weights).sum()


@jax.jit
@jax.value_and_grad
def weighted_composition(axis_angle, weights):
    second = jnp.full_like(axis_angle, 0.2)
    return (rotations.compose_axis_angle(axis_angle, second) * weights).sum()


@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_agree_with_finite_differences(rng, angle):
    with jax.enable_x64(True):
        axis_angle, direction = vectors(rng, angle, 5).astype(np.float64), rng.normal(size=(5, 3))
        cases = [(weighted_matrix, rng.normal(size=(5, 3, 3)))]
        if angle < 2.5:  # a larger composition may reach a half turn, where the logarithm jumps
            cases.append((weighted_composition, rng.normal(size=(5, 3))))
        for function, weights in cases:
            _, gradient = function(axis_angle, weights)
            expected = directional_derivative(
                lambda a, f=function, w=weights: f(a, w)[0], (axis_angle,), (direction,), 1e-6
            )
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_finite_and_right_at_the_identity():
    jacobian = jax.jit(jax.jacobian(rotations.axis_angle_to_matrix))(jnp.zeros(3))
    generators = -np.array(
        [
            [[0, 0, 0], [0, 0, 1], [0, -1, 0]],
            [[0, 0, -1], [0, 0, 0], [1, 0, 0]],
            [[0, 1, 0], [-1, 0, 0], [0, 0, 0]],
        ],
        np.float32,
    )
    np.testing.assert_array_equal(jacobian, np.moveaxis(generators, 0, -1))
    round_trip = jax.jit(jax.jacobian(lambda a: logarithm(exponential(a))))
    np.testing.assert_allclose(round_trip(jnp.zeros(3)), np.eye(3), atol=1e-7)
