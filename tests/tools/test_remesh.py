"""Remeshing on spheres and skinning on random poses, as used to build the open models."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tools.open_models import skinning
from tools.open_models.editable_mesh import EditableMesh
from tools.open_models.remesh import boundary_loop, decimate, flip, refine, triangulate


def _bowl():
    """A mirror symmetric sphere without its south cap: vertices, faces, mirror table."""
    rings, segments = 10, 16
    polar = np.linspace(0, 0.8 * np.pi, rings + 1)[1:]
    turn = 2 * np.pi * np.arange(segments) / segments
    ring = lambda p: np.stack(
        [np.sin(p) * np.cos(turn), np.sin(p) * np.sin(turn), np.full(segments, np.cos(p))], 1
    )
    vertices = np.concatenate([[[0, 0, 1.0]], *map(ring, polar)])
    ids = 1 + np.arange(rings * segments).reshape(rings, segments)
    after = np.roll(ids, -1, axis=1)
    near, far, far_after, near_after = ids[:-1], ids[1:], after[1:], after[:-1]
    # Diagonals are mirrored at the mid plane x = 0.
    right = np.cos(turn + np.pi / segments)[None, :, None, None] > 0
    stack = lambda *corners: np.stack(corners, -1)
    one = np.stack([stack(near, far, far_after), stack(near, far_after, near_after)], -2)
    other = np.stack([stack(near, far, near_after), stack(far, far_after, near_after)], -2)
    cap = np.stack([np.zeros(segments, int), ids[0], after[0]], 1)
    mirror = cKDTree(vertices).query(vertices * [-1, 1, 1])[1]
    return vertices, np.concatenate([cap, np.where(right, one, other).reshape(-1, 3)]), mirror


def _symmetric_faces(faces, mirror):
    unordered = lambda faces: {tuple(sorted(face)) for face in faces.tolist()}
    return unordered(faces) == unordered(mirror[faces])


def test_remeshing_keeps_topology_symmetry_and_surface():
    vertices, faces, mirror = _bowl()
    assert _symmetric_faces(faces, mirror)
    mesh = EditableMesh(vertices, faces, mirror)
    decimate(mesh, 120)
    assert len(mesh) == 120
    refine(mesh, 301, np.full(len(vertices), 0.1), boundary_count=24)
    assert len(mesh) == 301
    flip(mesh)
    rows, new_faces = mesh.result()
    new = rows @ vertices
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)  # weights below 1e-7 are dropped
    assert len(boundary_loop(new_faces)) == 24
    result = trimesh.Trimesh(new, new_faces, process=False)
    assert result.euler_number == 1 and result.is_winding_consistent
    outwards = np.einsum("nc,nc->n", result.face_normals, result.triangles_center)
    assert outwards.min() > 0  # no face is folded
    np.testing.assert_allclose(new[mesh.mirror()], new * [-1, 1, 1], atol=1e-6)
    assert _symmetric_faces(new_faces, mesh.mirror())


def test_new_vertices_follow_the_curved_surface():
    sphere = trimesh.creation.icosphere(subdivisions=2)
    mesh = EditableMesh(sphere.vertices, np.asarray(sphere.faces))
    refine(mesh, 250, np.ones(len(sphere.vertices)))
    sag = 1 - np.linalg.norm((mesh.result()[0] @ sphere.vertices)[len(sphere.vertices) :], axis=1)
    edges = sphere.vertices[sphere.edges_unique]
    flat = 1 - np.linalg.norm(edges.mean(1), axis=1)  # the sag of midpoints of straight edges
    assert np.abs(sag).max() < 0.5 * flat.min()


def test_new_vertices_are_placed_where_sizes_are_small():
    vertices, faces, mirror = _bowl()
    mesh = EditableMesh(vertices, faces, mirror)
    refine(mesh, 300, np.where(vertices[:, 1] > 0.1, 1.0, np.inf))
    new = (mesh.result()[0] @ vertices)[len(vertices) :]
    assert len(new) and (new[:, 1] > 0.05).all()
    with pytest.raises(ValueError, match="no edge left to split"):
        refine(mesh, 400, np.full(len(mesh), np.inf))


def test_decimation_removes_only_removable_vertices(rng):
    sphere = trimesh.creation.icosphere(subdivisions=3)
    removable = sphere.vertices[:, 2] > 0.2
    mesh = EditableMesh(sphere.vertices, np.asarray(sphere.faces))
    decimate(mesh, 500, removable=removable)
    rows, _ = mesh.result()
    kept = rows.indices
    assert len(mesh) == 500 and np.isin(np.flatnonzero(~removable), kept).all()
    np.testing.assert_allclose(rows.data, 1)  # decimation selects vertices and moves none


def test_skinning_is_rigid_where_one_joint_has_all_the_weight(rng):
    joints, parents = rng.normal(size=(4, 3)), np.array([-1, 0, 1, 1])
    rotations = skinning.rotation_matrices(rng.normal(0, 0.7, (4, 3)))
    transforms = skinning.skinning_transforms(rotations, joints, parents)
    vertices, weights = rng.normal(size=(20, 3)), np.eye(4)[rng.integers(0, 4, 20)]
    linear = skinning.linear_blend(vertices, weights, transforms)
    dual = skinning.dual_quaternion_blend(vertices, weights, transforms)
    np.testing.assert_allclose(dual, linear, atol=1e-12)
    # The root rotates about its own joint.
    root = Rotation.from_matrix(rotations[0]).apply(vertices - joints[0]) + joints[0]
    found = skinning.linear_blend(vertices, np.eye(4)[[0] * 20], transforms)
    np.testing.assert_allclose(found, root, atol=1e-12)


def test_dual_quaternions_preserve_lengths_where_linear_blending_shrinks(rng):
    rotations = skinning.rotation_matrices(np.array([[0, 0, 0], [np.pi * 0.9, 0, 0]]))
    transforms = skinning.skinning_transforms(rotations, np.zeros((2, 3)), np.array([-1, 0]))
    vertices, weights = rng.normal(size=(30, 3)) * [0, 1, 1], np.full((30, 2), 0.5)
    lengths = np.linalg.norm(vertices, axis=1)
    dual = np.linalg.norm(skinning.dual_quaternion_blend(vertices, weights, transforms), axis=1)
    linear = np.linalg.norm(skinning.linear_blend(vertices, weights, transforms), axis=1)
    np.testing.assert_allclose(dual, lengths, atol=1e-12)
    assert (linear < 0.5 * lengths).all()


def test_corrective_targets_make_linear_blending_equal_dual_quaternions(rng):
    joints, parents = rng.normal(size=(3, 3)), np.array([-1, 0, 1])
    vertices, weights = rng.normal(size=(15, 3)), rng.dirichlet([1, 1, 1], 15)
    rotations = skinning.rotation_matrices(rng.normal(0, 0.4, (5, 3, 3)))
    offsets = skinning.corrective_targets(vertices, joints, weights, parents, rotations)
    for pose, offset in zip(rotations, offsets, strict=True):
        transforms = skinning.skinning_transforms(pose, joints, parents)
        wanted = skinning.dual_quaternion_blend(vertices, weights, transforms)
        found = skinning.linear_blend(vertices + offset, weights, transforms)
        np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_fit_joint_finds_a_convex_combination(rng):
    shapes = rng.normal(size=(40, 30, 3))
    expected = np.zeros(30)
    expected[[3, 8, 20]] = 0.2, 0.5, 0.3
    row = skinning.fit_joint(shapes, np.einsum("v,nvc->nc", expected, shapes), np.arange(25))
    np.testing.assert_allclose(row, expected, atol=1e-3)
    assert row.min() >= 0 and abs(row.sum() - 1) < 1e-12


def test_quads_are_cut_along_the_shorter_diagonal():
    kite = np.array([[0, 0, 0], [2, -1, 0], [3, 0, 0], [2, 1, 0.0]])
    for turn in range(4):
        quad = np.roll(np.arange(4), turn)[None]
        triangles = triangulate(kite, quad)
        assert all({1, 3} < set(triangle) for triangle in triangles.tolist())
        a, b, c = kite[triangles].transpose(1, 0, 2)
        assert (np.cross(b - a, c - a)[:, 2] > 0).all()
