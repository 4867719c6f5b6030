"""Normals, areas and points on faces; borders and caps."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from support.geometry_oracles import blob, directional_derivative

from dice_jax.geometry import mesh


def open_tube(rng):
    """A blob without its top and bottom: two borders."""
    closed = blob(rng)
    middle = np.abs(closed.triangles_center[:, 2]) < 0.05
    return closed, closed.faces[middle].astype(np.int32)


def test_normals_and_areas_agree_with_trimesh(rng):
    shapes = [blob(rng), blob(rng)]
    vertices = jnp.asarray(np.stack([shape.vertices for shape in shapes]), jnp.float32)
    faces = jnp.asarray(shapes[0].faces)
    for b, shape in enumerate(shapes):
        normals = mesh.face_normals(vertices, faces)
        np.testing.assert_allclose(normals[b], shape.face_normals, atol=1e-4)
        np.testing.assert_allclose(mesh.face_areas(vertices, faces)[b], shape.area_faces, rtol=1e-4)
        weights = np.zeros((len(shape.vertices), 3))
        np.add.at(weights, shape.faces, (shape.face_normals * shape.area_faces[:, None])[:, None])
        expected = weights / np.linalg.norm(weights, axis=-1, keepdims=True)
        np.testing.assert_allclose(mesh.vertex_normals(vertices, faces)[b], expected, atol=1e-4)


def test_normals_of_a_sphere_point_outward():
    sphere = trimesh.creation.icosphere(subdivisions=3)
    vertices = jnp.asarray(sphere.vertices, jnp.float32)
    normals = mesh.vertex_normals(vertices, jnp.asarray(sphere.faces))
    assert (np.asarray(normals) * sphere.vertices).sum(-1).min() > 0.999


def test_faces_without_area_have_zero_normals_and_finite_gradients():
    vertices = jnp.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    faces = jnp.array([[0, 1, 2], [1, 1, 1]])
    for function in (mesh.face_normals, mesh.face_areas, mesh.vertex_normals):
        total = lambda v, function=function: jnp.abs(function(v, faces) + 1e-9).sum()
        value, gradient = jax.jit(jax.value_and_grad(total))(vertices)
        assert value < 1e-7 and np.isfinite(gradient).all()


def test_gradients_of_normals_and_areas_equal_finite_differences(rng):
    shape = blob(rng, subdivisions=1)
    faces = jnp.asarray(shape.faces)
    with jax.enable_x64(True):
        weights, direction = rng.normal(size=(2, *shape.vertices.shape))
        for function in (mesh.vertex_normals, lambda v, f: mesh.face_areas(v, f)[:, None] * 100):
            scalar = lambda v, function=function: (function(v, faces) * weights[0, 0]).sum()
            gradient = jax.jit(jax.grad(scalar))(jnp.asarray(shape.vertices))
            inputs = (np.asarray(shape.vertices),)
            expected = directional_derivative(jax.jit(scalar), inputs, (direction,), 1e-7)
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5)


def test_barycentric_points_broadcast_and_reach_the_corners(rng):
    shape = blob(rng)
    values = rng.normal(size=(2, len(shape.vertices), 4)).astype(np.float32)
    ids = rng.integers(0, len(shape.faces), (2, 7))
    weights = rng.dirichlet(np.ones(3), (2, 7)).astype(np.float32)
    faces = jnp.asarray(shape.faces)
    found = mesh.barycentric_points(jnp.asarray(values), faces, ids, weights)
    shared = mesh.barycentric_points(jnp.asarray(values), faces, ids[0], weights[0])
    for b in range(2):
        expected = np.einsum("kvc,kv->kc", values[b][shape.faces[ids[b]]], weights[b])
        np.testing.assert_allclose(found[b], expected, atol=1e-6)
        expected = np.einsum("kvc,kv->kc", values[b][shape.faces[ids[0]]], weights[0])
        np.testing.assert_allclose(shared[b], expected, atol=1e-6)
    second = np.tile([0.0, 1.0, 0.0], (7, 1))
    corner = mesh.barycentric_points(jnp.asarray(values[0]), faces, ids[0], second)
    np.testing.assert_allclose(corner, values[0][shape.faces[ids[0], 1]])


def test_caps_close_every_hole_with_consistent_orientation(rng):
    closed, faces = open_tube(rng)
    loops = mesh.boundary_loops(faces)
    capped = mesh.cap_faces(faces)
    assert len(loops) == 2 and len(loops[0]) >= len(loops[1])
    np.testing.assert_array_equal(capped[: len(faces)], faces)
    assert len(capped) == len(faces) + sum(len(loop) - 2 for loop in loops)
    assert set(capped[len(faces) :].ravel()) <= set(np.concatenate(loops))
    directed = np.concatenate([capped[:, [0, 1]], capped[:, [1, 2]], capped[:, [2, 0]]])
    directed = Counter(map(tuple, directed.tolist()))
    assert all(directed[b, a] == times for (a, b), times in directed.items())
    assert mesh.boundary_loops(capped) == []
    np.testing.assert_array_equal(mesh.cap_faces(closed.faces), closed.faces)


def test_the_caps_of_a_cylinder_without_ends_restore_it():
    whole = trimesh.creation.cylinder(radius=1.0, height=2.0, sections=16)
    side = whole.faces[np.abs(whole.face_normals[:, 2]) < 0.5]
    capped = trimesh.Trimesh(whole.vertices, mesh.cap_faces(side), process=False)
    assert capped.is_watertight and capped.is_winding_consistent
    np.testing.assert_allclose(capped.volume, whole.volume)


def test_loops_have_the_direction_of_their_faces_and_split_where_borders_touch():
    fan = np.array([[0, 1, 2], [0, 3, 4]])  # two triangles that share one vertex
    loops = mesh.boundary_loops(fan)
    assert sorted(sorted(loop.tolist()) for loop in loops) == [[0, 1, 2], [0, 3, 4]]
    directed = {(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0)}
    for loop in loops:
        assert set(zip(loop.tolist(), np.roll(loop, -1).tolist())) <= directed


def test_edges_and_adjacency_agree_with_trimesh(rng):
    shape, faces = open_tube(rng)
    used = trimesh.Trimesh(shape.vertices, faces, process=False)
    expected = np.unique(np.sort(used.edges_unique, axis=1), axis=0)
    np.testing.assert_array_equal(mesh.edges(faces), expected)
    neighbors = mesh.vertex_adjacency(faces, len(shape.vertices))
    for row, expected in zip(neighbors, used.vertex_neighbors):
        assert row[row >= 0].tolist() == sorted(expected)
