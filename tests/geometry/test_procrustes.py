"""Similarity alignment recovers a known transform, never reflects, and is optimal."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from dice_jax.geometry import procrustes, rotations

align = jax.jit(procrustes.align)


def test_a_known_similarity_is_recovered(rng):
    source = rng.normal(size=(6, 89, 3)).astype(np.float32) * 0.1 + 0.3
    rotation = np.asarray(rotations.random_rotation(jax.random.key(0), (6,)))
    scale, shift = rng.uniform(0.2, 3.0, 6), rng.normal(size=(6, 3))
    target = scale[:, None, None] * source @ np.swapaxes(rotation, -1, -2) + shift[:, None]
    found = procrustes.procrustes(jnp.asarray(source), jnp.asarray(target, jnp.float32))
    for value, expected in zip(found, (scale, rotation, shift)):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    aligned = align(jnp.asarray(source), jnp.asarray(target, jnp.float32))
    np.testing.assert_allclose(aligned, target, atol=1e-5)


def test_alignment_equals_scipy_where_scipy_needs_no_reflection(rng):
    source = rng.normal(size=(40, 3))
    target = Rotation.random(random_state=1).apply(source) * 1.7 + rng.normal(size=(40, 3)) * 0.2
    centered, fitted, _ = scipy_procrustes(target, source)
    size = np.linalg.norm(target - target.mean(0))
    found = align(jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32))
    np.testing.assert_allclose(found, fitted * size + target.mean(0), atol=1e-5)
    assert np.abs(centered - fitted).max() > 1e-3


def test_a_mirrored_set_is_fitted_by_the_best_rotation(rng):
    source = rng.normal(size=(30, 3)) * [1.0, 0.7, 0.4]
    target = source * [1, 1, -1]
    scale, rotation, _ = procrustes.procrustes(
        jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32)
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)
    error = np.square(np.asarray(align(jnp.asarray(source), jnp.asarray(target))) - target).sum()
    candidates = [
        *Rotation.random(500, random_state=0).as_matrix(),
        np.diag([-1, 1, -1]),
        np.eye(3),
    ]
    for candidate in candidates:
        moved = (source - source.mean(0)) @ np.transpose(candidate)
        best_scale = max(0.0, (moved * (target - target.mean(0))).sum() / np.square(moved).sum())
        assert error <= np.square(best_scale * moved + target.mean(0) - target).sum() + 1e-4
    assert scale >= 0


def test_flat_and_coincident_points_stay_finite(rng):
    flat = rng.normal(size=(20, 3)) * [1, 1, 0]
    turned = Rotation.from_rotvec([0.3, 0.5, 0.1]).apply(flat)
    found = align(jnp.asarray(flat, jnp.float32), jnp.asarray(turned, jnp.float32))
    np.testing.assert_allclose(found, turned, atol=1e-5)
    point = jnp.ones((5, 3))
    assert np.isfinite(align(point, jnp.asarray(flat[:5], jnp.float32))).all()


def test_weights_repeat_points(rng):
    """A whole weight is the same as so many copies of the point; a weight of 0 leaves it out."""
    source, target = rng.normal(size=(2, 12, 3)).astype(np.float32)
    counts = np.array([0, 1, 2, 3] * 3)
    found = procrustes.procrustes(source, target, counts.astype(np.float32))
    expected = procrustes.procrustes(source.repeat(counts, 0), target.repeat(counts, 0))
    for value, other in zip(found, expected):
        np.testing.assert_allclose(value, other, atol=1e-5)
