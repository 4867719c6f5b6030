"""The rasterizer agrees with float64 brute force, Embree rays and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from support.geometry_oracles import (
    barycentrics_2d,
    blob,
    posed_hand_and_head,
    rasterize_brute_force,
)

from dice_jax.geometry import camera, rasterize

SIZE = 128
draw = functools.partial(jax.jit, static_argnums=(2, 3, 4))(rasterize.rasterize)


def to_screen(vertices, zoom, perspective):
    """Projects the scene to an image of SIZE pixels a side, which the head fills at zoom 1."""
    scale, center = jnp.asarray(SIZE * 3.5 * zoom), jnp.full(2, SIZE / 2.0)
    if perspective:
        moved = jnp.asarray(vertices) + jnp.array([[0.0, 0.0, 0.6]])
        return np.asarray(camera.perspective_to_screen(moved, 0.6 * scale, center))
    return np.asarray(camera.orthographic_to_screen(jnp.asarray(vertices), scale, center))


def assert_agrees(fragments, vertices_px, faces, perspective, height=SIZE, width=SIZE):
    """Faces equal those of brute force, except where two are equally deep up to rounding."""
    expected_ids, expected_depth, expected_barycentrics = rasterize_brute_force(
        vertices_px, faces, height, width, perspective
    )
    face_ids, depth = np.asarray(fragments.face_ids), np.asarray(fragments.depth)
    np.testing.assert_array_equal(face_ids >= 0, expected_ids >= 0)
    seen = face_ids >= 0
    np.testing.assert_allclose(depth[seen], expected_depth[seen], atol=2e-5)
    assert np.isinf(depth[~seen]).all()
    same = seen & (face_ids == expected_ids)
    np.testing.assert_allclose(
        np.asarray(fragments.barycentrics)[same], expected_barycentrics[same], atol=2e-3
    )
    for row, column in np.argwhere(seen & ~same):
        # A tie: the other face covers the pixel too, up to rounding, at the same depth.
        corners = np.float64(vertices_px[faces[face_ids[row, column]]])
        center = np.float64(column + 0.5), np.float64(row + 0.5)
        weights, _ = barycentrics_2d(corners[:, :2], *center)
        assert weights.min() > -1e-4
        inverse = weights @ (1 / corners[:, 2]) if perspective else None
        z = 1 / inverse if perspective else weights @ corners[:, 2]
        np.testing.assert_allclose(z, expected_depth[row, column], atol=1e-6)
    assert (seen & ~same).sum() <= 0.002 * max(seen.sum(), 1)
    assert fragments.overflow == 0
    return seen


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("zoom", [0.02, 0.25, 1.0, 6.0, 40.0])
def test_agrees_with_brute_force_from_sub_pixel_to_full_screen_faces(rng, zoom, perspective):
    vertices, faces = posed_hand_and_head(rng)
    vertices_px = to_screen(vertices, zoom, perspective)
    fragments = draw(jnp.asarray(vertices_px), jnp.asarray(faces), SIZE, SIZE, perspective)
    seen = assert_agrees(fragments, vertices_px, faces, perspective)
    assert seen.any() and (zoom < 5 or seen.all())


def test_perspective_depth_agrees_with_embree_rays(rng):
    shape = blob(rng, subdivisions=4)
    vertices = np.float32(shape.vertices) + np.float32([0, 0, 0.3])
    focal_length = 150.0
    vertices_px = camera.perspective_to_screen(
        jnp.asarray(vertices), jnp.asarray(focal_length), jnp.full(2, SIZE / 2.0)
    )
    fragments = draw(vertices_px, jnp.asarray(shape.faces, jnp.int32), SIZE, SIZE, True)
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([columns - SIZE / 2, rows - SIZE / 2, np.full_like(rows, focal_length)], -1)
    rays /= focal_length
    solid = trimesh.Trimesh(vertices.astype(np.float64), shape.faces, process=False)
    hits, ray_ids, _ = solid.ray.intersects_location(
        np.zeros((SIZE**2, 3)), rays.reshape(-1, 3), multiple_hits=False
    )
    expected = np.full(SIZE**2, np.inf)
    expected[ray_ids] = hits[:, 2]
    depth = np.asarray(fragments.depth).ravel()
    both = np.isfinite(depth) & np.isfinite(expected)
    differing = np.isfinite(depth) != np.isfinite(expected)
    assert differing.sum() <= 4  # rays that graze the silhouette
    close = np.isclose(depth[both], expected[both], atol=1e-4)
    assert both.sum() > 1000 and close.mean() > 0.999


@pytest.mark.parametrize("perspective", [False, True])
def test_depth_gradients_agree_with_finite_differences_in_x_y_and_z(rng, perspective):
    size, step = 48, 1e-6
    with jax.enable_x64(True):
        shape = blob(rng, subdivisions=2)
        vertices_px = np.array(shape.vertices) * [150.0, 150.0, 1.0] + [size / 2, size / 2, 0.4]
        faces, weights = jnp.asarray(shape.faces, jnp.int32), rng.normal(size=(size, size))

        def weighted_depth(vertices, steady):
            fragments = rasterize.rasterize(vertices, faces, size, size, perspective)
            return jnp.where(steady, fragments.depth * weights, 0.0).sum(), fragments.face_ids

        evaluate = jax.jit(jax.value_and_grad(weighted_depth, has_aux=True))
        for axis in range(3):
            direction = np.zeros_like(vertices_px)
            direction[:, axis] = rng.normal(size=len(vertices_px))
            before, after = (vertices_px + sign * step * direction for sign in (-1, 1))
            ids_before, ids_after = (evaluate(v, False)[0][1] for v in (before, after))
            steady = (ids_before == ids_after) & (ids_before >= 0)
            assert steady.sum() > 0.95 * (ids_before >= 0).sum() > 500
            _, gradient = evaluate(vertices_px, steady)
            expected = (evaluate(after, steady)[0][0] - evaluate(before, steady)[0][0]) / (2 * step)
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5)
            assert abs(expected) > 1e-3


def test_gradients_are_finite_with_background_edge_on_and_flat_faces(rng):
    vertices, faces = posed_hand_and_head(rng)
    vertices[faces[::7, 1]] = vertices[faces[::7, 0]]  # degenerate
    vertices_px = jnp.asarray(to_screen(vertices, 1.0, False))
    for perspective in (False, True):

        def scalar(v, perspective=perspective):
            depth = rasterize.rasterize(v, faces, SIZE, SIZE, perspective).depth
            return jnp.where(jnp.isfinite(depth), depth, 0.0).sum()

        gradient = np.asarray(jax.jit(jax.grad(scalar))(vertices_px))
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_invalid_and_invisible_faces_are_not_drawn(rng):
    triangle = np.array([[10.0, 10, 1], [60, 12, 1], [30, 70, 1]], np.float32)
    bad = {
        "behind": triangle * [1, 1, -1],
        "one corner behind": triangle * [[1, 1, 1], [1, 1, -1], [1, 1, 1]],
        "at the camera": triangle * [1, 1, 0],
        "left": triangle - [200, 0, 0],
        "below": triangle + [0, 500, 0],
        "far off": triangle * [1e20, 1e20, 1],
        "not a number": np.where(np.eye(3) > 0, np.nan, triangle),
        "infinite": np.where(np.eye(3) > 0, np.inf, triangle),
        "line": np.array([[10, 10, 1], [20, 20, 1], [30, 30, 1]]),
        "point": triangle[[0, 0, 0]],
        "between pixel centers": triangle * 0.005 + [0.7, 0.7, 1],
    }
    batch = jnp.asarray(np.stack(list(bad.values())), jnp.float32)
    for perspective in (False, True):
        fragments = draw(batch, jnp.array([[0, 1, 2]]), SIZE, SIZE, perspective)
        drawn = (np.asarray(fragments.face_ids) != -1).any((1, 2))
        assert not drawn.any(), np.array(list(bad))[drawn]
        assert np.isinf(fragments.depth).all() and (fragments.overflow == 0).all()
    # They do not affect a valid face, and its gradient is finite.
    together = jnp.asarray(np.concatenate([triangle, *bad.values()]), jnp.float32)
    faces = jnp.arange(len(together)).reshape(-1, 3)

    def total_depth(vertices):
        fragments = rasterize.rasterize(vertices, faces, SIZE, SIZE)
        return jnp.where(fragments.face_ids >= 0, fragments.depth, 0.0).sum(), fragments.face_ids

    (_, face_ids), gradient = jax.jit(jax.value_and_grad(total_depth, has_aux=True))(together)
    expected, _, _ = rasterize_brute_force(triangle, np.array([[0, 1, 2]]), SIZE, SIZE, False)
    np.testing.assert_array_equal(face_ids, expected)
    assert np.isfinite(gradient[:3]).all() and (gradient[3:] == 0).all()


def test_both_sides_of_a_face_are_drawn_and_the_lowest_id_wins_a_tie():
    square = jnp.array([[10.0, 10, 1], [50, 10, 1], [50, 50, 1], [10, 50, 1]])
    # Faces 2 to 4 are copies of faces 0 and 1 in either orientation.
    faces = jnp.array([[0, 1, 2], [0, 2, 3], [0, 2, 1], [0, 3, 2], [0, 1, 2]])
    ids = np.asarray(draw(square, faces, SIZE, SIZE, False).face_ids)
    assert set(ids[10:50, 10:50].ravel().tolist()) == {0, 1}
    np.testing.assert_array_equal(ids[::-1][-50:-10, 10:50] >= 0, True)
    flipped = np.asarray(draw(square, faces[:, ::-1], SIZE, SIZE, False).face_ids)
    np.testing.assert_array_equal(flipped, ids)
    # On the shared diagonal both faces cover the pixel centers, at one depth.
    assert (np.diagonal(ids)[10:50] == 0).all()


def test_neighboring_faces_leave_no_gap(rng):
    """A fine, jittered height field is covered without a hole, at any sub-pixel offset."""
    ticks = np.linspace(8, SIZE - 8, 60)
    x, y = np.meshgrid(ticks, ticks)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    faces = faces.reshape(-1, 3).astype(np.int32)

    def assert_covered(x, y, z):
        vertices_px = jnp.asarray(np.stack([x, y, z], -1).reshape(-1, 3), jnp.float32)
        covered = np.asarray(draw(vertices_px, faces, SIZE, SIZE, False).face_ids) >= 0
        assert covered[9 : SIZE - 9, 9 : SIZE - 9].all()

    for _ in range(5):
        jitter = rng.uniform(-0.4, 0.4, (2, *x.shape))
        assert_covered(x + jitter[0], y + jitter[1], 1 + 0.01 * rng.random(x.shape))
    # Corners exactly on pixel centers.
    assert_covered(np.floor(x) + 0.5, np.floor(y) + 0.5, np.ones_like(x))


def test_pixel_centers_lie_at_plus_one_half():
    # The square covers the points with x <= 3.5 and y <= 2.5: the centers of columns 0 to 3 and of
    # rows 0 to 2.
    square = jnp.array([[0.0, 0, 1], [3.5, 0, 1], [3.5, 2.5, 1], [0.0, 2.5, 1]])
    ids = np.asarray(draw(square, jnp.array([[0, 1, 2], [0, 2, 3]]), 6, 8, False).face_ids)
    np.testing.assert_array_equal(np.argwhere(ids >= 0), np.argwhere(np.ones((3, 4))))


def test_every_image_of_a_batch_agrees_with_brute_force(rng):
    vertices, faces = posed_hand_and_head(rng)
    batch = np.stack([to_screen(vertices, zoom, False) for zoom in (0.3, 1.0, 2.0, 0.05)])
    batch = batch.reshape(2, 2, -1, 3)
    together = draw(jnp.asarray(batch), jnp.asarray(faces), 96, SIZE, False)
    assert together.face_ids.shape == (2, 2, 96, SIZE) and together.overflow.shape == (2, 2)
    for b in np.ndindex(2, 2):
        single = jax.tree.map(lambda array, b=b: array[b], together)
        assert_agrees(single, batch[b], faces, False, 96, SIZE)


def test_the_size_of_a_pass_does_not_change_the_image(rng):
    vertices, faces = posed_hand_and_head(rng)
    vertices_px = jnp.asarray(to_screen(vertices, 1.0, False))
    expected = draw(vertices_px, jnp.asarray(faces), SIZE, SIZE, False)
    for size in (1000, 2**18):
        compiled = jax.jit(
            lambda v, size=size: rasterize.rasterize(
                v, jnp.asarray(faces), SIZE, SIZE, fragments_per_pass=size
            )
        )
        np.testing.assert_array_equal(compiled(vertices_px).face_ids, expected.face_ids)


def test_faces_without_room_in_the_list_are_counted():
    count = jnp.full(5, 2**30, jnp.int32)
    starts, total, overflow = rasterize.lay_out_fragments(count)
    np.testing.assert_array_equal(starts, np.uint32([0, 2**30, 2**31, 3 * 2**30, 3 * 2**30]))
    assert int(total) == 3 * 2**30 and overflow == 2
    _, total, overflow = rasterize.lay_out_fragments(jnp.array([3, 0, 4], jnp.int32))
    assert total == 7 and overflow == 0


def test_interpolated_positions_project_to_the_pixel_centers_at_the_depth(rng):
    vertices, faces = posed_hand_and_head(rng)
    for perspective in (False, True):
        vertices_px = jnp.asarray(to_screen(vertices, 0.8, perspective))
        fragments = draw(vertices_px, jnp.asarray(faces), SIZE, SIZE, perspective)
        distance = 0.6 if perspective else 1.0
        camera_points = jnp.asarray(vertices) + jnp.array([[0.0, 0.0, distance]])
        values = rasterize.interpolate(
            fragments, jnp.asarray(faces), camera_points, background=-7.0
        )
        values = np.asarray(values)
        seen = np.asarray(fragments.face_ids) >= 0
        np.testing.assert_array_equal(values[~seen], -7.0)
        np.testing.assert_allclose(values[seen][:, 2], np.asarray(fragments.depth)[seen], atol=1e-6)
        divisor = values[seen][:, 2] / 0.6 if perspective else 1.0
        columns_rows = np.argwhere(seen)[:, ::-1] + 0.5
        found = values[seen][:, :2] / np.reshape(divisor, (-1, 1)) * SIZE * 3.5 * 0.8 + SIZE / 2
        np.testing.assert_allclose(found, columns_rows, atol=2e-3)


def test_depth_is_sampled_at_the_pixel_that_contains_the_keypoint():
    depth = jnp.arange(2.0 * 4 * 5).reshape(2, 4, 5)
    keypoints = jnp.array(
        [[[0.0, 0.0], [4.99, 3.99], [2.5, 1.0]], [[-0.01, 1.0], [5.0, 1.0], [1.0, 4.0]]]
    )
    found = rasterize.sample_depth(depth, keypoints)
    np.testing.assert_array_equal(found, [[0.0, 19.0, 7.0], [np.inf] * 3])
    gradient = jax.grad(lambda d: rasterize.sample_depth(d, keypoints)[0].sum())(depth)
    assert gradient.sum() == 3 and gradient[0, 1, 2] == 1
