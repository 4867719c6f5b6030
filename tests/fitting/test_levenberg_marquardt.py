"""Levenberg-Marquardt against SciPy; robust residuals against their formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from dice_jax.fitting.levenberg_marquardt import minimize, robust

ROSENBROCK = lambda x: jnp.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def half_square(values):
    return 0.5 * float((np.asarray(values, np.float64) ** 2).sum())


def linear_problem(rng, rows=12, columns=4):
    return np.float32(rng.normal(size=(rows, columns))), np.float32(rng.normal(size=rows))


@jax.jit
def solve_linear(matrix, target, start):
    return minimize(lambda x: matrix @ x - target, start, 20)


def smooth_problem(rng):
    """A nonlinear problem with unique minimum: a linear one under a slight, smooth bend."""
    matrix, target = linear_problem(rng, 15, 5)
    bend = np.float32(rng.normal(size=(15, 5)))
    return lambda x: matrix @ x + 0.3 * jnp.sin(bend @ x) - target


def test_linear_least_squares_equal_numpy(rng):
    for _ in range(20):
        matrix, target = linear_problem(rng)
        expected, *_ = np.linalg.lstsq(np.float64(matrix), np.float64(target), rcond=None)
        found = solve_linear(matrix, target, np.float32(rng.normal(size=4)))
        np.testing.assert_allclose(found.unknowns, expected, atol=1e-4)
        assert float(found.cost) == pytest.approx(half_square(matrix @ expected - target), rel=1e-4)


def test_more_unknowns_than_residuals_are_solved_too(rng):
    matrix, target = linear_problem(rng, 3, 7)
    found = solve_linear(matrix, target, np.zeros(7, np.float32))
    np.testing.assert_allclose(matrix @ found.unknowns, target, atol=1e-4)


def test_the_minimum_of_rosenbrock():
    found = jax.jit(lambda x: minimize(ROSENBROCK, x, 60))(jnp.array([-1.2, 1.0]))
    np.testing.assert_allclose(found.unknowns, [1.0, 1.0], atol=1e-3)
    assert float(found.first_cost) == pytest.approx(12.1, rel=1e-5)


def test_a_nonlinear_problem_equals_scipy(rng):
    residuals = smooth_problem(rng)
    start = np.float32(0.3 * rng.normal(size=5))
    expected = optimize.least_squares(
        lambda x: np.asarray(residuals(np.float32(x))), start, "3-point"
    )
    found = jax.jit(lambda x: minimize(residuals, x, 30))(start)
    assert float(found.cost) == pytest.approx(expected.cost, rel=1e-3)


def test_unknowns_are_any_tree_of_arrays():
    start = {"a": jnp.zeros(()), "b": (jnp.zeros((2, 2)),)}
    target = {"a": jnp.array(3.0), "b": (jnp.array([[1.0, 2.0], [3.0, 4.0]]),)}

    def residuals(x):
        return jnp.concatenate([(x["a"] - target["a"])[None], (x["b"][0] - target["b"][0]).ravel()])

    found = minimize(residuals, start, 10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found.unknowns, target)


def test_the_cost_is_that_of_the_unknowns_and_never_above_the_start(rng):
    """After any number of steps, on a function with many bends."""
    wild = np.float32(3.0 * rng.normal(size=(8, 4)))
    residuals = lambda x: jnp.sin(wild @ x) * (1.0 + (x**2).sum())
    starts = np.float32(rng.normal(size=(30, 4)))
    last = None
    for steps in (0, 1, 5, 25):
        found = jax.jit(jax.vmap(lambda x, n=steps: minimize(residuals, x, n)))(starts)
        expected = [half_square(residuals(x)) for x in np.asarray(found.unknowns)]
        np.testing.assert_allclose(found.cost, expected, rtol=1e-3, atol=1e-6)
        assert (found.cost <= found.first_cost).all()
        assert last is None or (found.cost <= last).all()
        last = found.cost


def test_a_start_with_nothing_better_is_returned():
    start = jnp.array([0.25, -0.5])
    for residuals in (lambda x: x - start, lambda x: 1.0 + 0.0 * x):
        found = minimize(residuals, start, 8)
        np.testing.assert_array_equal(found.unknowns, start)
        assert float(found.cost) == float(found.first_cost)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_residuals_that_are_no_numbers_are_avoided(bad):
    """The first, nearly undamped step leads from 3 far below zero, where the function ends."""
    residuals = lambda x: jnp.where(x > 0.0, jnp.log(jnp.maximum(x, 1e-30)), bad)
    found = minimize(residuals, jnp.array([3.0]), 40)
    np.testing.assert_allclose(found.unknowns, 1.0, atol=1e-3)


def test_a_start_that_is_no_number_is_returned():
    found = minimize(lambda x: x * jnp.nan, jnp.array([1.0, 2.0]), 3)
    np.testing.assert_array_equal(found.unknowns, [1.0, 2.0])
    assert np.isnan(found.cost)


def test_a_batch_equals_its_elements_and_repeats_bit_for_bit(rng):
    residuals = smooth_problem(rng)
    starts = np.float32(rng.normal(size=(6, 5)))
    one = jax.jit(lambda x: minimize(residuals, x, 20))
    many = jax.jit(jax.vmap(lambda x: minimize(residuals, x, 20)))
    batch = many(starts)
    for i, start in enumerate(starts):
        single = one(start)
        np.testing.assert_allclose(batch.unknowns[i], single.unknowns, atol=1e-3)
        np.testing.assert_allclose(batch.cost[i], single.cost, rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, batch, many(starts))


def test_robust_keeps_short_vectors_and_their_direction(rng):
    vectors = np.float32(rng.normal(size=(50, 2)))
    short = 0.03 * vectors
    np.testing.assert_allclose(robust(short, 3.0), short, rtol=1e-3)
    long = np.asarray(robust(20.0 * vectors, 3.0))
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit(long), unit(vectors), atol=1e-5)
    assert (np.linalg.norm(long, axis=-1) <= np.linalg.norm(20.0 * vectors, axis=-1)).all()


def test_robust_lengths_rise_and_end_as_square_roots():
    lengths = np.geomspace(1e-3, 1e6, 200).astype(np.float32)
    vectors = lengths[:, None] * np.float32([[0.6, -0.8]])
    found = np.linalg.norm(robust(vectors, 3.0), axis=-1)
    assert (np.diff(found) > 0).all()
    far = lengths > 300.0
    np.testing.assert_allclose(found[far], np.sqrt(3.0 * lengths[far]), rtol=1e-3)


def test_robust_gradient_equals_finite_differences(rng):
    with jax.enable_x64(True):
        weights = rng.normal(size=(6, 2))
        value = lambda x: (weights * robust(x, 3.0)).sum()
        points = rng.normal(size=(6, 2)) * np.array([0.0, 0.01, 1.0, 3.0, 30.0, 3000.0])[:, None]
        gradient = jax.grad(value)(jnp.asarray(points))
        assert np.isfinite(gradient).all()
        for i, j in np.ndindex(points.shape):
            step = np.zeros_like(points)
            step[i, j] = 1e-5
            slope = (value(points + step) - value(points - step)) / 2e-5
            np.testing.assert_allclose(gradient[i, j], slope, rtol=1e-6, atol=1e-8)
