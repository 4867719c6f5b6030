"""Coarse levels: vertex subsets of the paper's sizes, and maps between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from dice_jax.body_models import (
    build_hierarchy,
    downsample,
    downsample_labels,
    lbs,
    upsample,
    upsampling_matrix,
)
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.geometry.mesh import boundary_loops, edges

COUNTS = {"hand": HAND_LEVELS, "head": HEAD_LEVELS}


def levels(model):
    """Vertex ids in the full mesh and faces of each level."""
    hierarchy = model.hierarchy
    ids = np.arange(hierarchy.counts[0])
    meshes = [(ids, np.asarray(model.faces))]
    for down, faces in zip(hierarchy.down_ids, hierarchy.faces):
        ids = ids[np.asarray(down)]
        meshes.append((ids, np.asarray(faces)))
    return meshes


def components(faces, count):
    """Number of connected components, and the component of each vertex."""
    pairs = edges(np.asarray(faces))
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), (count, count))
    return connected_components(graph, directed=False)


def test_levels_have_the_sizes_of_the_paper_and_sorted_vertex_ids(model):
    assert model.hierarchy.counts == COUNTS[model.kind]
    for ids in model.hierarchy.down_ids:
        assert (np.diff(ids) > 0).all()


def test_every_level_keeps_all_components_and_boundary_loops(model):
    _, labels = components(np.asarray(model.faces), len(model.v_template))
    holes = len(boundary_loops(np.asarray(model.faces)))
    for ids, faces in levels(model):
        number, coarse_labels = components(faces, len(ids))
        assert number == len(np.unique(labels[ids])) == labels.max() + 1
        pairs = np.unique(np.stack([labels[ids], coarse_labels]), axis=1).T
        assert len(pairs) == number  # no component is merged or split
        assert len(boundary_loops(faces)) == holes
        euler = len(ids) - len(edges(faces)) + len(faces)
        assert euler == 2 * number - holes  # spheres, each hole a missing disc


def test_coarse_surfaces_are_oriented_and_close_to_the_full_mesh(model):
    vertices = np.asarray(model.v_template)
    full = trimesh.Trimesh(vertices, model.closed_faces, process=False)
    area = trimesh.Trimesh(vertices, model.faces, process=False).area
    for ids, faces in levels(model)[1:]:
        coarse = trimesh.Trimesh(vertices[ids], faces, process=False)
        assert coarse.is_winding_consistent
        assert coarse.area == pytest.approx(area, rel=0.1)
        distance = trimesh.proximity.closest_point(full, coarse.triangles_center)[1]
        assert distance.mean() < 0.002


def test_downsampling_inverts_upsampling(model, rng):
    hierarchy = model.hierarchy
    for level in range(1, len(hierarchy.counts)):
        values = jnp.asarray(rng.normal(size=(2, hierarchy.counts[level], 4)), jnp.float32)
        fine = upsample(hierarchy, values, level)
        np.testing.assert_array_equal(downsample(hierarchy, fine, level), values)


def test_maps_over_several_levels_are_compositions(model, rng):
    hierarchy = model.hierarchy
    last = len(hierarchy.counts) - 1
    fine = jnp.asarray(rng.normal(size=(3, hierarchy.counts[0], 2)), jnp.float32)
    coarse = downsample(hierarchy, fine, last)
    by_steps, back = fine, coarse
    for level in range(last):
        by_steps = downsample(hierarchy, by_steps, level + 1, from_level=level)
    for level in reversed(range(last)):
        back = upsample(hierarchy, back, level + 1, to_level=level)
    np.testing.assert_array_equal(by_steps, coarse)
    np.testing.assert_array_equal(back, upsample(hierarchy, coarse, last))
    ids, _ = levels(model)[-1]
    np.testing.assert_array_equal(coarse, np.asarray(fine)[:, ids])


def test_a_coarse_vertex_keeps_the_label_of_its_vertex_in_the_full_mesh(model, rng):
    labels = rng.random((2, len(model.v_template))) < 0.3
    for level, (ids, _) in enumerate(levels(model)):
        coarse = downsample_labels(model.hierarchy, jnp.asarray(labels), level)
        assert coarse.dtype == bool
        np.testing.assert_array_equal(coarse, labels[:, ids])


def test_upsampling_reproduces_constants_and_commutes_with_affine_maps(model, rng):
    hierarchy = model.hierarchy
    last = len(hierarchy.counts) - 1
    ones = upsample(hierarchy, jnp.ones((hierarchy.counts[-1], 1)), last)
    np.testing.assert_allclose(ones, 1, atol=1e-6)
    for weights in hierarchy.up_weights:
        assert np.asarray(weights).min() >= -1e-6
    matrix, shift = (rng.normal(size=size).astype(np.float32) for size in ((3, 3), 3))
    affine = lambda points: np.asarray(points) @ matrix + shift
    coarse = downsample(hierarchy, model.v_template, 1)
    mapped_first = upsample(hierarchy, affine(coarse), 1)
    np.testing.assert_allclose(mapped_first, affine(upsample(hierarchy, coarse, 1)), atol=1e-5)


def test_upsampled_rest_mesh_is_close_to_the_template(model):
    """The bounds follow from the size of the coarse triangles."""
    hierarchy, template = model.hierarchy, np.asarray(model.v_template)
    for level in range(1, len(hierarchy.counts)):
        ids, faces = levels(model)[level]
        corners = template[ids][faces]
        length = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).mean()
        restored = upsample(hierarchy, jnp.asarray(template[ids]), level)
        error = np.linalg.norm(restored - template, axis=-1)
        assert error.mean() < 0.15 * length
        assert error.mean() < 0.003 and error.max() < 0.015


def test_upsampling_never_mixes_components(model):
    """Otherwise the eyelids would follow the eyes."""
    _, labels = components(np.asarray(model.faces), len(model.v_template))
    meshes = levels(model)
    for level, up_ids in enumerate(model.hierarchy.up_ids):
        fine, coarse = meshes[level][0], meshes[level + 1][0]
        expected = labels[fine][:, None].repeat(3, 1)
        np.testing.assert_array_equal(labels[coarse][np.asarray(up_ids)], expected)


def test_lips_are_upsampled_as_accurately_with_an_open_jaw_as_at_rest(head):
    """Otherwise the upper lip would follow the lower."""
    jaw = jnp.asarray(Rotation.from_euler("x", 0.35).as_matrix(), jnp.float32)
    pose = jnp.tile(jnp.eye(3), (5, 1, 1)).at[2].set(jaw)
    opened, _ = lbs(head, jnp.zeros(150), pose)
    lips = np.asarray(head.region("lips"))

    def error(vertices, level):
        coarse = downsample(head.hierarchy, vertices, level)
        return np.linalg.norm(upsample(head.hierarchy, coarse, level) - vertices, axis=-1)[lips]

    for level in (1, 2):
        assert error(opened, level).max() < error(head.v_template, level).max() + 0.002


def test_a_second_pose_keeps_close_surfaces_apart():
    """Two plates a micrometer apart, which the second pose moves apart."""
    box = trimesh.creation.box([2.0, 2.0, 1e-6]).subdivide().subdivide().subdivide()
    opened = box.vertices * [1, 1, 1e6]
    hierarchy = build_hierarchy(box.vertices, box.faces, (80,), poses=[opened])
    coarse = jnp.asarray(opened[hierarchy.down_ids[0]], jnp.float32)
    np.testing.assert_allclose(upsample(hierarchy, coarse, 1), opened, atol=1e-4)


def test_upsampling_matrix_agrees_with_upsample(model, rng):
    for level in range(1, len(model.hierarchy.counts)):
        values = jnp.asarray(rng.normal(size=(model.hierarchy.counts[level], 3)), jnp.float32)
        matrix = upsampling_matrix(model.hierarchy, level)
        expected = upsample(model.hierarchy, values, level, to_level=level - 1)
        np.testing.assert_allclose(matrix @ values, expected, atol=1e-5)
        np.testing.assert_allclose(matrix.sum(-1), 1, atol=1e-6)


def test_gradients_equal_finite_differences(hand, rng):
    with jax.enable_x64(True):
        double = lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x
        hierarchy = jax.tree.map(double, hand.hierarchy)
        values = jnp.asarray(rng.normal(size=(HAND_LEVELS[1], 2)))
        function = lambda x: downsample(hierarchy, upsample(hierarchy, x, 1) ** 2, 1)
        check_grads(function, (values,), order=1)


def icospheres(*centers):
    spheres = [trimesh.creation.icosphere(subdivisions=3, radius=1.0) for _ in centers]
    vertices = [sphere.vertices + center for sphere, center in zip(spheres, centers)]
    faces = [sphere.faces + i * len(sphere.vertices) for i, sphere in enumerate(spheres)]
    return np.concatenate(vertices), np.concatenate(faces)


def test_build_reaches_any_count_exactly_and_keeps_each_sphere():
    vertices, faces = icospheres([0, 0, 0], [3, 0, 0])
    hierarchy = build_hierarchy(vertices, faces, (401, 100, 24))
    assert hierarchy.counts == (1284, 401, 100, 24)
    for coarse_faces, count in zip(hierarchy.faces, (401, 100, 24)):
        assert components(coarse_faces, count)[0] == 2
        assert len(boundary_loops(coarse_faces)) == 0
        assert len(coarse_faces) == 2 * count - 8


def test_more_vertices_are_kept_where_the_importance_is_larger():
    vertices, faces = icospheres([0, 0, 0])
    right = vertices[:, 0] > 0

    def kept(importance):
        hierarchy = build_hierarchy(vertices, faces, (160,), importance)
        return right[hierarchy.down_ids[0]].mean()

    more, equal, less = kept(np.where(right, 10.0, 1.0)), kept(None), kept(np.where(right, 0.1, 1))
    assert more > equal + 0.1 > less + 0.2


def test_a_flat_grid_is_reproduced_exactly():
    """It has no curvature to lose, and its border must stay in place."""
    ticks = np.arange(12.0)
    grid = np.stack(np.meshgrid(ticks, ticks, [0.0], indexing="ij"), -1).reshape(-1, 3)
    corner = (np.arange(11)[:, None] * 12 + np.arange(11)).ravel()
    lower = np.stack([corner, corner + 12, corner + 1], -1)
    upper = np.stack([corner + 1, corner + 12, corner + 13], -1)
    hierarchy = build_hierarchy(grid, np.concatenate([lower, upper]), (60,))
    coarse = grid[hierarchy.down_ids[0]]
    restored = upsample(hierarchy, jnp.asarray(coarse, jnp.float32), 1)
    np.testing.assert_allclose(restored, grid, atol=1e-5)
    assert trimesh.Trimesh(coarse, hierarchy.faces[0], process=False).area == pytest.approx(121.0)


def test_a_count_that_would_break_the_surface_is_an_error():
    vertices, faces = icospheres([0, 0, 0], [3, 0, 0])
    with pytest.raises(ValueError, match="cannot be simplified to 10 vertices"):
        build_hierarchy(vertices, faces, (10,))
