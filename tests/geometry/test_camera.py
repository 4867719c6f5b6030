"""Cameras agree with NumPy, and pinhole and orthography with each other where they should."""

import jax.numpy as jnp
import numpy as np

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
