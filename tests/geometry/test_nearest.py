"""Nearest neighbors and closest points agree with brute force, SciPy and trimesh.

Gradients are exact and finite.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from support.geometry_oracles import blob, directional_derivative

from dice_jax.geometry import nearest

neighbors = jax.jit(nearest.nearest_neighbors)
closest_point = jax.jit(nearest.closest_point_on_mesh)


def test_neighbors_agree_with_a_kd_tree(rng):
    query = rng.uniform(-0.1, 0.1, (2, 3, 200, 3)).astype(np.float32) + 5.0  # far from the origin
    points = rng.uniform(-0.1, 0.1, (2, 3, 500, 3)).astype(np.float32) + 5.0
    distances, indices = neighbors(jnp.asarray(query), jnp.asarray(points))
    for b in np.ndindex(2, 3):
        expected, _ = cKDTree(points[b].astype(np.float64)).query(query[b].astype(np.float64))
        np.testing.assert_allclose(distances[b], expected, atol=1e-6)
        chosen = np.linalg.norm(query[b] - points[b][np.asarray(indices[b])], axis=-1)
        np.testing.assert_allclose(chosen, expected, atol=1e-6)


@pytest.mark.parametrize("rows_per_block", [1, 8, 101, 1000])
def test_blocks_do_not_change_the_result(rng, rows_per_block):
    query = rng.normal(size=(2, 101, 3)).astype(np.float32)
    points = rng.normal(size=(2, 57, 3)).astype(np.float32)
    nearest_of = lambda rows, points: jnp.argmin(
        ((rows[:, None] - points[None]) ** 2).sum(-1), axis=-1
    )
    found = nearest.blocked(nearest_of, query, (points,), 57, pairs_per_block=57 * rows_per_block)
    np.testing.assert_array_equal(found, neighbors(jnp.asarray(query), jnp.asarray(points))[1])


def test_only_valid_points_count(rng):
    query, points = rng.normal(size=(3, 40, 3)), rng.normal(size=(3, 60, 3))
    valid = rng.random((3, 60)) < 0.3
    valid[2] = False
    moved = np.where(valid[..., None], points, np.nan)
    arrays = [jnp.asarray(array, jnp.float32) for array in (query, points, moved)]
    distances, indices = neighbors(arrays[0], arrays[1], jnp.asarray(valid))
    for b in range(2):
        pairwise = np.linalg.norm(query[b][:, None] - points[b], axis=-1)
        expected = np.where(valid[b], pairwise, np.inf).min(-1)
        np.testing.assert_allclose(distances[b], expected, rtol=1e-5)
        assert valid[b][np.asarray(indices[b])].all()
    assert np.isinf(distances[2]).all()
    np.testing.assert_array_equal(neighbors(arrays[0], arrays[2], jnp.asarray(valid))[0], distances)
    # Masking the infinite distances afterwards leaves a gradient of zero, not NaN.
    has_any = valid.any(-1)[:, None]
    masked = lambda q: jnp.where(has_any, neighbors(q, arrays[1], valid)[0], 0.0).sum()
    gradient = jax.jit(jax.grad(masked))(arrays[0])
    assert np.isfinite(gradient).all() and (np.asarray(gradient[2]) == 0).all()


def test_the_lowest_index_wins_a_tie():
    points = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    _, indices = neighbors(jnp.zeros((4, 3)), points)
    np.testing.assert_array_equal(indices, 1)


def test_gradient_is_the_unit_direction_and_zero_at_contact(rng):
    query = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32)
    points = jnp.asarray(rng.normal(size=(50, 3)), jnp.float32)
    query = query.at[0].set(points[7])
    scalar = lambda q, p: neighbors(q, p)[0].sum()
    to_query, to_points = jax.jit(jax.grad(scalar, (0, 1)))(query, points)
    distances, indices = neighbors(query, points)
    expected = (query - points[indices])[1:] / distances[1:, None]
    np.testing.assert_allclose(to_query[1:], expected, atol=1e-5)
    np.testing.assert_array_equal(to_query[0], 0.0)
    expected = -jnp.zeros_like(points).at[indices].add(to_query)
    np.testing.assert_allclose(to_points, expected, atol=1e-6)


def test_closest_points_agree_with_trimesh(rng):
    shapes = [blob(rng), blob(rng)]
    points = rng.uniform(-0.15, 0.15, (2, 300, 3)).astype(np.float32)
    points[:, :50] = [shape.triangles_center[:50] for shape in shapes]  # on the surface
    points[:, 50:70] = [shape.vertices[:20] for shape in shapes]
    vertices = jnp.asarray(np.stack([shape.vertices for shape in shapes]), jnp.float32)
    found = closest_point(jnp.asarray(points), vertices, jnp.asarray(shapes[0].faces))
    closest, face_ids, barycentrics, distances = map(np.asarray, found)
    for b, shape in enumerate(shapes):
        _, expected, _ = trimesh.proximity.closest_point(shape, points[b].astype(np.float64))
        np.testing.assert_allclose(distances[b], expected, atol=1e-6)
        lengths = np.linalg.norm(points[b] - closest[b], axis=-1)
        np.testing.assert_allclose(lengths, distances[b], atol=1e-6)
        corners = shape.vertices[shape.faces[face_ids[b]]]
        interpolated = np.einsum("kvc,kv->kc", corners, barycentrics[b])
        np.testing.assert_allclose(interpolated, closest[b], atol=1e-6)
    assert (barycentrics >= 0).all()
    np.testing.assert_allclose(barycentrics.sum(-1), 1.0, atol=1e-6)


def test_corners_edges_and_interiors_of_triangles_agree_with_trimesh(rng):
    triangles = rng.normal(size=(4000, 3, 3))
    triangles[:500, 2] = triangles[:500, 0] + 1e-3 * rng.normal(size=(500, 3))  # slivers
    points = rng.normal(size=(4000, 3)) * 2
    expected = trimesh.triangles.closest_point(triangles, points)
    barycentrics = nearest.closest_barycentrics(
        jnp.asarray(points, jnp.float32), jnp.asarray(triangles, jnp.float32)
    )
    found = np.einsum("kvc,kv->kc", triangles, barycentrics)
    to_found, to_expected = (np.linalg.norm(points - other, axis=-1) for other in (found, expected))
    np.testing.assert_allclose(to_found, to_expected, atol=1e-5)
    positive = (np.asarray(barycentrics) > 0).sum(-1)
    assert {1, 2, 3} == set(positive.tolist())  # corners, edges and interiors all occurred


def test_triangles_without_area_are_treated_as_segments_and_points():
    flat = jnp.array(
        [[[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]], [[1.0, 1, 1], [1.0, 1, 1], [1.0, 1, 1]]]
    )
    points = jnp.array([[1.5, 2.0, 0.0], [1.0, 1.0, 3.0]])
    found = (flat * nearest.closest_barycentrics(points, flat)[..., None]).sum(-2)
    np.testing.assert_allclose(found, [[1.5, 0, 0], [1, 1, 1]], atol=1e-6)
    *_, distances = closest_point(points, flat.reshape(-1, 3), jnp.arange(6).reshape(2, 3))
    # Point 0 is nearer to the second triangle: sqrt(0.25 + 1 + 1).
    np.testing.assert_allclose(distances, [1.5, 2.0], atol=1e-6)


def test_faces_that_are_not_valid_are_not_found(rng):
    shape = blob(rng)
    valid = shape.triangles_center[:, 2] > 0
    points = rng.uniform(-0.15, 0.15, (100, 3))
    inputs = jnp.asarray(points, jnp.float32), jnp.asarray(shape.vertices, jnp.float32)
    found = closest_point(*inputs, jnp.asarray(shape.faces), jnp.asarray(valid))
    _, face_ids, _, distances = found
    assert valid[np.asarray(face_ids)].all()
    half = trimesh.Trimesh(shape.vertices, shape.faces[valid], process=False)
    expected = trimesh.proximity.closest_point(half, points)[1]
    np.testing.assert_allclose(distances, expected, atol=1e-6)


@pytest.mark.parametrize("moves", ["points", "vertices"])
def test_distance_gradient_agrees_with_finite_differences(rng, moves):
    with jax.enable_x64(True):
        shape = blob(rng, subdivisions=2)
        points, faces = rng.uniform(-0.15, 0.15, (60, 3)), jnp.asarray(shape.faces)
        weights = rng.normal(size=60)
        scalar = lambda p, v: (closest_point(p, v, faces)[3] * weights).sum()
        arrays = (jnp.asarray(points), jnp.asarray(shape.vertices))
        moved = [name == moves for name in ("points", "vertices")]
        directions = tuple(rng.normal(size=a.shape) * m for a, m in zip(arrays, moved))
        gradients = jax.jit(jax.grad(scalar, (0, 1)))(*arrays)
        found = sum((g * d).sum() for g, d in zip(gradients, directions))
        expected = directional_derivative(jax.jit(scalar), arrays, directions, 1e-7)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
