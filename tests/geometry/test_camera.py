"""Cameras agree with NumPy, and pinhole and orthography with each other where they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.geometry import camera


def scene(rng, batch=4, count=30):
    """Points (meters), and scale (pixels per meter) and transl (pixels) of orthographic cameras."""
    points = rng.uniform(-0.15, 0.15, (batch, count, 3)).astype(np.float32)
    scale = rng.uniform(300, 900, batch).astype(np.float32)
    transl = rng.uniform(60, 160, (batch, 2)).astype(np.float32)
    return points, scale, transl


def test_projections_agree_with_homogeneous_matrices(rng):
    points, scale, transl = scene(rng)
    focal_length, center = scale * 3, transl + 200
    forward = np.array([0, 0, 1.0], np.float32)
    pinhole = camera.project_perspective(jnp.asarray(points + forward), focal_length, center)
    flat = camera.project_orthographic(jnp.asarray(points), scale, transl)
    for b in range(len(points)):
        intrinsics = np.array(
            [[focal_length[b], 0, center[b, 0]], [0, focal_length[b], center[b, 1]], [0, 0, 1]]
        )
        projected = (points[b] + forward) @ intrinsics.T
        np.testing.assert_allclose(pinhole[b], projected[:, :2] / projected[:, 2:], rtol=1e-5)
        affine = np.array([[scale[b], 0, 0, transl[b, 0]], [0, scale[b], 0, transl[b, 1]]])
        homogeneous = np.c_[points[b], np.ones(len(points[b]))]
        np.testing.assert_allclose(flat[b], homogeneous @ affine.T, rtol=1e-5)


def test_pinhole_equals_orthography_on_the_plane_and_differs_by_z_over_distance_elsewhere(rng):
    points, scale, transl = scene(rng)
    on_plane = points * np.array([1, 1, 0], np.float32)
    focal_length = np.full(4, 5000.0, np.float32)
    center = np.full((4, 2), 112.0, np.float32)
    translation = camera.orthographic_to_perspective(scale, transl, focal_length, center)
    translation = np.asarray(translation)
    np.testing.assert_allclose(translation[:, 2], focal_length / scale)
    project = lambda p: camera.project_perspective(
        jnp.asarray(p + translation[:, None]), focal_length, center
    )
    flat = np.asarray(camera.project_orthographic(jnp.asarray(points), scale, transl))
    np.testing.assert_allclose(project(on_plane), flat, atol=2e-3)
    # pinhole = center + (flat - center) / (1 + z / distance), exactly.
    shrink = 1 / (1 + points[..., 2:] / translation[:, None, 2:])
    np.testing.assert_allclose(project(points), 112.0 + (flat - 112.0) * shrink, atol=2e-3)


def test_crop_camera_in_pixels_of_the_image_projects_to_the_same_places(rng):
    points, scale, transl = scene(rng)
    box = np.array([[10, 20, 448], [-30, 5, 100], [0, 0, 224], [400, 300, 650]], np.float32)
    in_crop = np.asarray(camera.project_orthographic(points, scale, transl))
    in_image = camera.project_orthographic(points, *camera.crop_to_image(scale, transl, box))
    expected = in_crop * box[:, None, 2:] / 224 + box[:, None, :2]
    np.testing.assert_allclose(in_image, expected, rtol=1e-4, atol=1e-3)


def test_screen_coordinates_are_pixels_and_positive_depth(rng):
    points, scale, transl = scene(rng)
    flat = camera.orthographic_to_screen(jnp.asarray(points), scale, transl, distance=1.0)
    expected = camera.project_orthographic(points, scale, transl)
    np.testing.assert_array_equal(flat[..., :2], expected)
    np.testing.assert_allclose(flat[..., 2], points[..., 2] + 1.0)
    moved = points + np.array([0, 0, 2], np.float32)
    pinhole = camera.perspective_to_screen(moved, scale, transl)
    expected = camera.project_perspective(moved, scale, transl)
    np.testing.assert_array_equal(pinhole[..., :2], expected)
    np.testing.assert_array_equal(pinhole[..., 2], moved[..., 2])


def test_scaled_perspective_is_the_pinhole_after_moving_the_points(rng):
    points, scale, transl = scene(rng)
    focal_length, center = scale * rng.uniform(0.5, 4, 4).astype(np.float32), transl + 90
    moved = (
        points
        + np.asarray(camera.orthographic_to_perspective(scale, transl, focal_length, center))[
            :, None
        ]
    )
    expected = camera.project_perspective(moved, focal_length, center)
    pixels = camera.project_scaled_perspective(points, scale, transl, focal_length, center)
    np.testing.assert_allclose(pixels, expected, atol=5e-3)


def test_scaled_perspective_from_infinitely_far_is_orthography(rng):
    points, scale, transl = scene(rng)
    far = np.full(4, np.inf, np.float32)
    pixels = camera.project_scaled_perspective(points, scale, transl, far, transl + 90)
    flat = camera.project_orthographic(jnp.asarray(points), scale, transl)
    np.testing.assert_allclose(pixels, flat, atol=1e-3)


@pytest.mark.parametrize("distance", [0.5, np.inf])
def test_gradients_of_scaled_perspective_are_finite_and_those_of_differences(rng, distance):
    points, scale, transl = (np.asarray(x[0]) for x in scene(rng))
    focal_length, center = np.asarray(distance * scale), transl + 90
    direction = rng.normal(size=(len(points), 2)).astype(np.float32)

    def weighted(points, scale, transl):
        pixels = camera.project_scaled_perspective(points, scale, transl, focal_length, center)
        return (pixels * direction).sum()

    arguments = points, jnp.asarray(scale), transl
    gradients = jax.grad(weighted, argnums=(0, 1, 2))(*arguments)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    # Central differences in NumPy, float64.
    project = lambda points, scale, transl: (
        (scale * points[:, :2] + transl - center)
        / (1 + points[:, 2:] * scale / np.float64(focal_length))
        + center
    )
    total = lambda *x: (project(*x) * direction).sum()
    exact = [np.asarray(x, np.float64) for x in arguments]
    for i, (gradient, size) in enumerate(zip(gradients, (1e-6, 1e-3, 1e-3))):
        step = size * rng.normal(size=exact[i].shape)
        high, low = (
            total(*[x + sign * step if j == i else x for j, x in enumerate(exact)])
            for sign in (1, -1)
        )
        expected = (high - low) / 2
        assert (np.asarray(gradient) * step).sum() == pytest.approx(expected, rel=1e-3)


def lstsq_camera(points, pixels, weights):
    """Scale and transl by a general least-squares solver."""
    root = np.sqrt(np.tile(weights, 2))
    count = len(points)
    x_rows, y_rows = np.repeat([1.0, 0.0], count), np.repeat([0.0, 1.0], count)
    matrix = np.stack([points[:, :2].T.ravel(), x_rows, y_rows], axis=-1)
    return np.linalg.lstsq(matrix * root[:, None], pixels.T.ravel() * root)[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_closest_orthography_is_the_least_squares_solution(rng, weighted):
    points = rng.normal(scale=0.1, size=(12, 3))
    pixels = 500 * points[:, :2] + rng.normal(scale=30, size=(12, 2)) + 110
    weights = rng.uniform(0, 1, 12) if weighted else None
    if weights is not None:
        weights[:2] = 0.0
        pixels[:2] = np.nan  # not detected
    scale, transl = camera.closest_orthography(points, pixels, weights)
    used = slice(2, None) if weighted else slice(None)
    ones = np.ones(12) if weights is None else weights
    expected = lstsq_camera(points[used], pixels[used], ones[used])
    np.testing.assert_allclose([scale, *transl], expected, rtol=1e-5)


def test_the_closest_orthography_of_an_orthographic_view_is_its_camera(rng):
    points, scale, transl = (np.asarray(x[0]) for x in scene(rng))
    pixels = np.asarray(camera.project_orthographic(points, scale, transl))
    found = camera.closest_orthography(points, pixels)
    np.testing.assert_allclose(found[0], scale, rtol=1e-5)
    np.testing.assert_allclose(found[1], transl, rtol=1e-5)


def test_the_closest_orthography_never_mirrors_and_needs_two_points(rng):
    points = rng.normal(scale=0.1, size=(8, 3))
    mirrored = camera.closest_orthography(points, -500 * points[:, :2] + 100)
    same_place = camera.closest_orthography(np.zeros((8, 3)), np.full((8, 2), 30.0))
    one_point = camera.closest_orthography(points, points[:, :2], np.eye(8)[0])
    for scale, transl in (mirrored, same_place, one_point):
        assert scale > 0 and np.isfinite(transl).all()
    np.testing.assert_array_equal(one_point[1], [112, 112])


def test_points_near_or_behind_the_camera_have_finite_pixels_and_gradients(rng):
    """They are projected as if they were at a tenth of the distance of the plane z = 0."""
    points, scale, transl = (np.asarray(x[0]) for x in scene(rng))
    distance = np.float32(0.5)
    focal_length, center = np.asarray(distance * scale), transl + 90
    points[:, 2] = -distance * np.linspace(0.95, 3.0, len(points), dtype=np.float32)
    arguments = scale, transl, focal_length, center
    project = lambda points: camera.project_scaled_perspective(points, *arguments)
    nearest = np.column_stack([points[:, :2], np.full(len(points), -0.9 * distance)])
    expected = project(nearest.astype(np.float32))
    np.testing.assert_allclose(project(points), expected, rtol=1e-3)
    gradient = jax.grad(lambda points: project(points).sum())(points)
    assert np.isfinite(gradient).all()
