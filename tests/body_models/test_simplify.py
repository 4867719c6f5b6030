"""Closest points on triangles against trimesh."""

import numpy as np
import trimesh

from dice_jax.body_models.simplify import closest_points


def test_closest_points_agree_with_trimesh(rng):
    corners = rng.normal(size=(500, 3, 3))
    for point in rng.normal(size=(5, 3)):
        barycentrics, distances = closest_points(point, corners)
        expected = trimesh.triangles.closest_point(corners, np.broadcast_to(point, (500, 3)))
        found = np.einsum("ki,kij->kj", barycentrics, corners)
        np.testing.assert_allclose(found, expected, atol=1e-7)
        np.testing.assert_allclose(distances, np.linalg.norm(expected - point, axis=-1), atol=1e-7)
        np.testing.assert_allclose(barycentrics.sum(-1), 1, atol=1e-9)
        assert barycentrics.min() >= 0


def test_a_triangle_without_area_has_its_closest_point_on_an_edge():
    triangle = np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0]]], float)
    barycentrics, distances = closest_points(np.array([0.5, 1.0, 0]), triangle)
    np.testing.assert_allclose(distances, 1.0)
    np.testing.assert_allclose(barycentrics[0] @ triangle[0], [0.5, 0, 0], atol=1e-9)
