"""Coarse levels: vertex subsets with the counts of the paper, and maps that agree with the surface."""

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
from dice_jax.geometry.mesh import boundary_loops

COUNTS = {"hand": (778, 195), "head": (5023, 1675, 559)}


def levels(model):
    """Vertex ids in the full mesh, and faces, of each level."""
    hierarchy = model.hierarchy
    ids = np.arange(hierarchy.counts[0])
    meshes = [(ids, np.asarray(model.faces))]
    for down, faces in zip(hierarchy.down_ids, hierarchy.faces):
        ids = ids[np.asarray(down)]
        meshes.append((ids, np.asarray(faces)))
    return meshes


def components(faces, count):
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    return connected_components(
        coo_matrix((np.ones(len(edges)), edges.T), (count, count)), directed=False
    )


def test_counts(model):
    assert model.hierarchy.counts == COUNTS[model.kind]
    for ids in model.hierarchy.down_ids:
        assert (np.diff(ids) > 0).all()


def test_every_component_and_hole_survives_at_every_level(model):
    _, labels = components(np.asarray(model.faces), len(model.v_template))
    holes = len(boundary_loops(np.asarray(model.faces)))
    for ids, faces in levels(model):
        number, coarse_labels = components(faces, len(ids))
        assert number == len(np.unique(labels[ids])) == labels.max() + 1
        assert (
            len(np.unique(np.stack([labels[ids], coarse_labels]), axis=1).T) == number
        )  # none merged or split
        assert len(boundary_loops(faces)) == holes
        euler = (
            len(ids)
            - len(np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), -1), axis=0))
            + len(faces)
        )
        assert euler == 2 * number - holes  # spheres, with a disc missing for each hole


def test_coarse_surfaces_are_oriented_and_near_the_full_one(model):
    vertices = np.asarray(model.v_template)
    full = trimesh.Trimesh(vertices, model.closed_faces, process=False)
    for ids, faces in levels(model)[1:]:
        coarse = trimesh.Trimesh(vertices[ids], faces, process=False)
        assert coarse.is_winding_consistent
        assert coarse.area == pytest.approx(
            trimesh.Trimesh(vertices, model.faces, process=False).area, rel=0.1
        )
        middles = coarse.triangles_center
        distance = np.linalg.norm(
            trimesh.proximity.closest_point(full, middles)[0] - middles, axis=-1
        )
        assert distance.mean() < 0.002


def test_down_of_up_is_the_identity(model, rng):
    hierarchy = model.hierarchy
    for level in range(1, len(hierarchy.counts)):
        values = jnp.asarray(rng.normal(size=(2, hierarchy.counts[level], 4)), jnp.float32)
        np.testing.assert_array_equal(
            downsample(hierarchy, upsample(hierarchy, values, level), level), values
        )


def test_levels_compose(model, rng):
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


def test_labels_follow_their_vertex(model, rng):
    labels = rng.random((2, len(model.v_template))) < 0.3
    for level, (ids, _) in enumerate(levels(model)):
        coarse = downsample_labels(model.hierarchy, jnp.asarray(labels), level)
        assert coarse.dtype == bool
        np.testing.assert_array_equal(coarse, labels[:, ids])


def test_upsampling_reproduces_constants_and_commutes_with_affine_maps(model, rng):
    hierarchy = model.hierarchy
    coarse = downsample(hierarchy, model.v_template, 1)
    np.testing.assert_allclose(
        upsample(hierarchy, jnp.ones((hierarchy.counts[-1], 1)), len(hierarchy.counts) - 1),
        1,
        atol=1e-6,
    )
    for weights in hierarchy.up_weights:
        assert np.asarray(weights).min() >= -1e-6
    matrix, shift = (
        jnp.asarray(rng.normal(size=(3, 3)), jnp.float32),
        jnp.asarray(rng.normal(size=3), jnp.float32),
    )
    np.testing.assert_allclose(
        upsample(hierarchy, coarse @ matrix + shift, 1),
        upsample(hierarchy, coarse, 1) @ matrix + shift,
        atol=1e-5,
    )


def test_upsampled_rest_mesh_is_close_to_the_template(model):
    """Bars from the size of the coarse triangles: the error of a chord grows with the square of its
    length.
    """
    hierarchy, template = model.hierarchy, np.asarray(model.v_template)
    for level in range(1, len(hierarchy.counts)):
        ids, faces = levels(model)[level]
        corners = template[ids][faces]
        length = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).mean()
        error = np.linalg.norm(
            upsample(hierarchy, jnp.asarray(template[ids]), level) - template, axis=-1
        )
        assert error.mean() < 0.15 * length
        assert error.mean() < 0.003 and error.max() < 0.015


def test_no_vertex_is_drawn_to_another_component(model):
    """The eyelids must not follow the eyes, nor the upper lip the lower."""
    _, labels = components(np.asarray(model.faces), len(model.v_template))
    meshes = levels(model)
    for level, up_ids in enumerate(model.hierarchy.up_ids):
        fine, coarse = meshes[level][0], meshes[level + 1][0]
        np.testing.assert_array_equal(
            labels[coarse][np.asarray(up_ids)], labels[fine][:, None].repeat(3, 1)
        )


def test_lips_do_not_stick_together(head):
    """Up-sampling a head with an open jaw is about as exact as one at rest."""
    jaw = jnp.asarray(Rotation.from_euler("x", 0.35).as_matrix(), jnp.float32)
    pose = jnp.tile(jnp.eye(3), (5, 1, 1)).at[2].set(jaw)
    opened, _ = lbs(head, jnp.zeros(150), pose)
    lips = np.asarray(head.region("lips"))
    for level in (1, 2):
        error = lambda vertices, level=level: np.linalg.norm(
            upsample(head.hierarchy, downsample(head.hierarchy, vertices, level), level) - vertices,
            axis=-1,
        )[lips].max()
        assert error(opened) < error(head.v_template) + 0.002


def test_a_second_pose_keeps_touching_sheets_apart():
    """Two plates a micrometer apart that a second pose opens: no vertex is drawn to the other
    plate's side.
    """
    box = trimesh.creation.box([2.0, 2.0, 1e-6]).subdivide().subdivide().subdivide()
    opened = box.vertices * [1, 1, 1e6]
    hierarchy = build_hierarchy(box.vertices, box.faces, (80,), poses=[opened])
    coarse = jnp.asarray(opened[hierarchy.down_ids[0]], jnp.float32)
    np.testing.assert_allclose(upsample(hierarchy, coarse, 1), opened, atol=1e-4)


def test_upsampling_matrix_is_the_same_map(model, rng):
    for level in range(1, len(model.hierarchy.counts)):
        values = jnp.asarray(rng.normal(size=(model.hierarchy.counts[level], 3)), jnp.float32)
        matrix = upsampling_matrix(model.hierarchy, level)
        expected = upsample(model.hierarchy, values, level, to_level=level - 1)
        np.testing.assert_allclose(matrix @ values, expected, atol=1e-5)
        np.testing.assert_allclose(matrix.sum(-1), 1, atol=1e-6)


def test_gradients_equal_finite_differences(hand, rng):
    with jax.enable_x64(True):
        hierarchy = jax.tree.map(
            lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, hand.hierarchy
        )
        values = jnp.asarray(rng.normal(size=(195, 2)))
        check_grads(
            lambda x: downsample(hierarchy, upsample(hierarchy, x, 1) ** 2, 1), (values,), order=1
        )


def icospheres(*centers):
    spheres = [trimesh.creation.icosphere(subdivisions=3, radius=1.0) for _ in centers]
    vertices = np.concatenate(
        [sphere.vertices + center for sphere, center in zip(spheres, centers)]
    )
    faces = np.concatenate(
        [sphere.faces + i * len(sphere.vertices) for i, sphere in enumerate(spheres)]
    )
    return vertices, faces


def test_building_reaches_any_count_exactly_and_keeps_each_sphere():
    vertices, faces = icospheres([0, 0, 0], [3, 0, 0])
    hierarchy = build_hierarchy(vertices, faces, (401, 100, 24))
    assert hierarchy.counts == (1284, 401, 100, 24)
    for coarse_faces, count in zip(hierarchy.faces, (401, 100, 24)):
        assert components(coarse_faces, count)[0] == 2
        assert len(boundary_loops(coarse_faces)) == 0
        assert len(coarse_faces) == 2 * count - 8


def test_importance_draws_vertices():
    vertices, faces = icospheres([0, 0, 0])
    right = vertices[:, 0] > 0
    kept = lambda importance: right[
        build_hierarchy(vertices, faces, (160,), importance).down_ids[0]
    ].mean()
    assert (
        kept(np.where(right, 10.0, 1.0)) > kept(None) + 0.1 > kept(np.where(right, 0.1, 1.0)) + 0.2
    )


def test_a_plane_is_reproduced_without_error(rng):
    """A flat patch has no curvature to lose, and its border stays where it is."""
    grid = np.stack(
        np.meshgrid(np.arange(12.0), np.arange(12.0), [0.0], indexing="ij"), -1
    ).reshape(-1, 3)
    corner = (np.arange(11)[:, None] * 12 + np.arange(11)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 12, corner + 1], -1),
            np.stack([corner + 1, corner + 12, corner + 13], -1),
        ]
    )
    hierarchy = build_hierarchy(grid, faces, (60,))
    coarse = grid[hierarchy.down_ids[0]]
    np.testing.assert_allclose(
        upsample(hierarchy, jnp.asarray(coarse, jnp.float32), 1), grid, atol=1e-5
    )
    assert trimesh.Trimesh(coarse, hierarchy.faces[0], process=False).area == pytest.approx(121.0)


def test_a_count_that_would_break_the_surface_is_refused():
    vertices, faces = icospheres([0, 0, 0], [3, 0, 0])
    with pytest.raises(ValueError, match="cannot be simplified to 10 vertices"):
        build_hierarchy(vertices, faces, (10,))
