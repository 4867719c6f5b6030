"""Inside tests and signed distances agree with solid angles, Embree rays and trimesh."""

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from support.geometry_oracles import blob, directional_derivative, winding_by_solid_angles

from dice_jax.body_models.assets import load_head
from dice_jax.geometry import mesh, sdf

inside = jax.jit(sdf.inside)
signed_distance = jax.jit(sdf.signed_distance)


def arrays(shape):
    return jnp.asarray(shape.vertices, jnp.float32), jnp.asarray(shape.faces, jnp.int32)


def test_inside_of_concave_shapes_agrees_with_embree_rays_and_solid_angles(rng):
    shapes = [blob(rng, depth=0.6) for _ in range(3)]
    assert all(shape.volume < 0.9 * shape.convex_hull.volume for shape in shapes)
    points = rng.uniform(-0.15, 0.15, (3, 400, 3)).astype(np.float32)
    vertices = jnp.asarray(np.stack([shape.vertices for shape in shapes]), jnp.float32)
    found = np.asarray(inside(jnp.asarray(points), vertices, jnp.asarray(shapes[0].faces)))
    for b, shape in enumerate(shapes):
        np.testing.assert_array_equal(found[b], shape.contains(points[b]))
        winding = winding_by_solid_angles(points[b], shape.vertices, shape.faces)
        np.testing.assert_array_equal(found[b], winding > 0.5)
    assert 0.1 < found.mean() < 0.9


def test_the_hole_of_a_torus_is_outside(rng):
    torus = trimesh.creation.torus(major_radius=1.0, minor_radius=0.4)
    points = rng.uniform(-1.5, 1.5, (3000, 3)).astype(np.float32)
    exact = (np.hypot(points[:, 0], points[:, 1]) - 1) ** 2 + points[:, 2] ** 2
    clear = np.abs(np.sqrt(exact) - 0.4) > 0.02
    found = np.asarray(inside(jnp.asarray(points), *arrays(torus)))
    np.testing.assert_array_equal(found[clear], (exact < 0.16)[clear])


def test_winding_number_of_the_capped_head_is_exact_even_near_its_surface(rng):
    head = load_head()
    vertices = np.asarray(head.v_template, np.float32)
    everywhere = rng.uniform(vertices.min(0) - 0.01, vertices.max(0) + 0.01, (150, 3))
    close = vertices[rng.integers(0, len(vertices), 150)] + rng.normal(size=(150, 3)) * 0.003
    points = np.concatenate([everywhere, close]).astype(np.float32)
    found = sdf.winding_number(
        jnp.asarray(points), jnp.asarray(vertices), jnp.asarray(head.closed_faces)
    )
    expected = winding_by_solid_angles(points, vertices, np.asarray(head.closed_faces))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert {0, 1} <= set(np.asarray(found).tolist())


def test_rays_through_edges_and_corners_are_counted_once():
    """Corners and edges of a box and a sphere lie exactly above the points."""
    ticks = np.linspace(-0.75, 0.75, 7, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3)
    box = trimesh.creation.box().subdivide().subdivide()  # corners at multiples of 1/8
    expected = (np.abs(grid) < 0.5).all(-1)
    on_surface = np.abs(grid).max(-1) == 0.5
    found = np.asarray(inside(jnp.asarray(grid), *arrays(box)))
    np.testing.assert_array_equal(found[~on_surface], expected[~on_surface])
    sphere = trimesh.creation.icosphere(subdivisions=3)
    below = np.float32(sphere.vertices) * np.float32([1, 1, 0]) * np.float32(0.999)
    through_corners = np.float32(sphere.vertices) * np.float32([1, 1, 0])
    outside = np.float32(sphere.vertices) * np.float32([1, 1, 0]) - np.float32([0, 0, 3])
    rim = np.abs(sphere.vertices[:, 2]) < 0.1
    for points, expected in ((below, True), (through_corners, True), (outside, False)):
        found = inside(jnp.asarray(points[~rim]), *arrays(sphere))
        np.testing.assert_array_equal(found, expected)


def test_overlapping_components_have_winding_number_two(rng):
    outer, inner = trimesh.creation.icosphere(radius=1.0), trimesh.creation.icosphere(radius=0.6)
    inner.apply_translation([0.7, 0, 0])
    both = trimesh.util.concatenate([outer, inner])
    points = rng.uniform(-1.5, 1.5, (500, 3)).astype(np.float32)
    found = np.asarray(sdf.winding_number(jnp.asarray(points), *arrays(both)))
    expected = outer.contains(points).astype(int) + inner.contains(points)
    np.testing.assert_array_equal(found, expected)
    winding = winding_by_solid_angles(points, both.vertices, both.faces)
    np.testing.assert_allclose(found, winding, atol=1e-6)
    assert set(found.tolist()) == {0, 1, 2}


def test_inside_does_not_change_if_the_scene_rotates(rng):
    shape = blob(rng, depth=0.6)
    points = rng.uniform(-0.12, 0.12, (500, 3))
    found = np.asarray(inside(jnp.asarray(points, jnp.float32), *arrays(shape)))
    for _ in range(3):
        rotation = trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
        rotated = jnp.asarray(shape.vertices @ rotation.T, jnp.float32)
        again = inside(jnp.asarray(points @ rotation.T, jnp.float32), rotated, arrays(shape)[1])
        np.testing.assert_array_equal(again, found)


def test_a_capped_open_mesh_has_an_inside_but_distances_ignore_the_cap(rng):
    whole = trimesh.creation.cylinder(radius=1.0, height=2.0, sections=24).subdivide().subdivide()
    bottom = (np.abs(whole.face_normals[:, 2]) > 0.5) & (whole.triangles_center[:, 2] < 0)
    open_faces = whole.faces[~bottom]
    closed = mesh.cap_faces(open_faces)
    points = rng.uniform(-1.4, 1.4, (800, 3)).astype(np.float32)
    vertices = jnp.asarray(whole.vertices, jnp.float32)
    found = inside(jnp.asarray(points), vertices, jnp.asarray(closed))
    np.testing.assert_array_equal(found, whole.contains(points))
    # The cap defines the inside but is no surface: below the open end the wall is nearest.
    found = signed_distance(
        jnp.asarray(points), vertices, jnp.asarray(open_faces), closed_faces=jnp.asarray(closed)
    )
    tube = trimesh.Trimesh(whole.vertices, open_faces, process=False)
    distances = trimesh.proximity.closest_point(tube, points)[1]
    expected = np.where(whole.contains(points), distances, -distances)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_signed_distance_agrees_with_trimesh_also_without_excluded_vertices(rng):
    shape = blob(rng, subdivisions=2, depth=0.6)
    points = rng.uniform(-0.15, 0.15, (2, 200, 3)).astype(np.float32)
    vertices, faces = arrays(shape)
    found = signed_distance(jnp.asarray(points), jnp.stack([vertices, vertices]), faces)
    for b in range(2):
        expected = trimesh.proximity.signed_distance(shape, points[b])
        np.testing.assert_allclose(found[b], expected, atol=2e-6)
    excluded = shape.vertices[:, 2] > 0.02
    kept_faces = shape.faces[~excluded[shape.faces].any(-1)]
    kept = trimesh.Trimesh(shape.vertices, kept_faces, process=False)
    partial = signed_distance(
        jnp.asarray(points[0]), vertices, faces, exclude_vertices=jnp.asarray(excluded)
    )
    distances = trimesh.proximity.closest_point(kept, points[0])[1]
    expected = np.where(shape.contains(points[0]), distances, -distances)
    np.testing.assert_allclose(partial, expected, atol=2e-6)


def test_gradient_has_unit_length_and_agrees_with_finite_differences(rng):
    with jax.enable_x64(True):
        shape = blob(rng, subdivisions=2)
        faces, weights = jnp.asarray(shape.faces), rng.normal(size=50)
        inputs = (rng.uniform(-0.12, 0.12, (50, 3)), np.asarray(shape.vertices))
        scalar = lambda p, v: (signed_distance(p, v, faces) * weights).sum()
        gradients = jax.jit(jax.grad(scalar, (0, 1)))(*map(jnp.asarray, inputs))
        lengths = np.linalg.norm(gradients[0], axis=-1)
        np.testing.assert_allclose(lengths, np.abs(weights), rtol=1e-9)
        directions = tuple(rng.normal(size=array.shape) for array in inputs)
        found = sum((g * d).sum() for g, d in zip(gradients, directions))
        expected = directional_derivative(jax.jit(scalar), inputs, directions, 1e-7)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_memory_of_a_batch_is_below_100_mib():
    sphere = trimesh.creation.icosphere(subdivisions=5)
    faces = jnp.asarray(sphere.faces[::2], jnp.int32)
    points = jax.ShapeDtypeStruct((16, 778, 3), jnp.float32)
    vertices = jax.ShapeDtypeStruct((16, len(sphere.vertices), 3), jnp.float32)
    compiled = jax.jit(lambda p, v: signed_distance(p, v, faces)).lower(points, vertices).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100 * 2**20
