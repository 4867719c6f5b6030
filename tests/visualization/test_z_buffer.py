"""What a pixel shows: the same as `geometry.rasterize` says, for any mesh."""

import numpy as np
import pytest

from dice_jax.geometry import rasterize
from dice_jax.io.meshes import NamedMesh
from dice_jax.visualization import render, shading, z_buffer
from dice_jax.visualization.z_buffer import Surface

SIZE = 64
SCALE, TRANSL = 30.0, np.array([31.2, 33.4])


@pytest.fixture
def triangles(rng):
    """Three meshes of triangles of all sizes, the last one in several colors."""
    meshes = []
    for count in (5, 40, 20):
        corners = rng.normal(scale=0.6, size=(count, 1, 3))
        corners = corners + rng.normal(scale=0.3, size=(count, 3, 3))
        vertices = corners.reshape(-1, 3).astype(np.float32)
        faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
        meshes.append(NamedMesh("mesh", vertices, faces, np.tile(rng.random(3), (3 * count, 1))))
    meshes[-1].colors[:] = rng.random(meshes[-1].colors.shape)
    return meshes


def surfaces_of(meshes):
    return [Surface.of(mesh, mesh.colors) for mesh in meshes]


def reference(meshes, size=SIZE, zoom=1.0):
    """The rasterizer's fragments, and where each mesh's faces start."""
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)])
    pixels = vertices[:, :2] * SCALE * zoom + TRANSL * zoom
    screen = np.column_stack([pixels, vertices[:, 2] + 10.0]).astype(np.float32)
    counts = np.cumsum([len(mesh.faces) for mesh in meshes])
    return rasterize.rasterize(screen, faces.astype(np.int32), size, size), counts, faces


def test_surface_depth_and_color_are_those_of_the_rasterizer(triangles):
    drawn = z_buffer.draw(surfaces_of(triangles), SCALE, TRANSL, SIZE)
    fragments, counts, faces = reference(triangles)
    face_ids = np.asarray(fragments.face_ids)
    expected = np.where(face_ids >= 0, np.searchsorted(counts, face_ids, side="right"), -1)
    same = drawn.ids == expected
    assert same.mean() > 0.998  # pixel centers on an edge, or two surfaces at one depth
    index = np.flatnonzero((same & (expected >= 0)).ravel())
    z = np.asarray(fragments.depth).ravel()[index] - 10.0
    assert np.quantile(np.abs(drawn.z(index) - z), 0.99) < 0.02 and len(index) > 500
    colors = np.concatenate([mesh.colors for mesh in triangles])
    weights = np.asarray(fragments.barycentrics).reshape(-1, 3)[index]
    blended = (colors[faces[face_ids.ravel()[index]]] * weights[..., None]).sum(1)
    assert np.quantile(np.abs(drawn.albedo(index) - blended), 0.99) < 0.02


def test_normals_face_the_camera_on_both_sides_of_a_face(rng):
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0.2]], np.float32)
    for faces in ([[0, 1, 2]], [[0, 2, 1]]):
        mesh = NamedMesh("one", vertices, np.array(faces, np.int32), np.ones((3, 3)))
        drawn = z_buffer.draw(surfaces_of([mesh]), SCALE, TRANSL, SIZE)
        index = np.flatnonzero(drawn.ids.ravel() >= 0)
        assert len(index) > 100 and (drawn.normals(index)[:, 2] < -0.9).all()


def test_faces_away_from_the_mask_may_be_left_out(triangles, rng):
    mask = rng.random((SIZE, SIZE)) > 0.99
    surfaces = surfaces_of(triangles)
    whole = z_buffer.draw(surfaces, 2 * SCALE, 2 * TRANSL, 2 * SIZE)
    part = z_buffer.draw(surfaces, 2 * SCALE, 2 * TRANSL, 2 * SIZE, mask)
    inside = np.kron(mask, np.ones((2, 2), bool))
    np.testing.assert_array_equal(part.ids[inside], whole.ids[inside])
    np.testing.assert_array_equal(part.depth[inside], whole.depth[inside])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 1e7])
def test_vertices_that_are_no_numbers_or_far_away_are_not_drawn(triangles, bad):
    good = triangles[0]
    vertices = np.concatenate([good.vertices, good.vertices[:3]])
    vertices[-2, :2] = bad
    faces = np.concatenate([good.faces, np.arange(3, dtype=np.int32)[None] + len(good.vertices)])
    mesh = NamedMesh("bad", vertices, faces, np.ones((len(vertices), 3)))
    plain = z_buffer.draw(surfaces_of([good]), SCALE, TRANSL, SIZE)
    drawn = z_buffer.draw(surfaces_of([mesh]), SCALE, TRANSL, SIZE)
    np.testing.assert_array_equal(drawn.ids, plain.ids)
    assert np.isfinite(render.render([mesh], SCALE, TRANSL, SIZE)).all()


def test_a_mesh_of_which_nothing_can_be_drawn_gives_an_empty_picture(triangles):
    nothing = NamedMesh(
        "nan", np.full_like(triangles[0].vertices, np.nan), triangles[0].faces, triangles[0].colors
    )
    assert not render.render([nothing], SCALE, TRANSL, SIZE)[..., 3].any()


def test_the_table_of_srgb_is_the_formula():
    srgb = np.linspace(0, 1, 10001, dtype=np.float32)
    np.testing.assert_allclose(shading.to_srgb(shading.to_linear(srgb)), srgb, atol=1e-3)
    assert shading.to_srgb(np.array([-1.0, 2.0])).tolist() == [0.0, 1.0]
