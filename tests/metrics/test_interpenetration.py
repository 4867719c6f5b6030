import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from dice_jax.metrics.interpenetration import (
    TOLERANCE,
    f_score,
    hand_signed_distance,
    interpenetration,
)

signed_distance = jax.jit(hand_signed_distance, static_argnames="reference_leak_filter")


def sdf_of(points, mesh, **options):
    points, vertices = (np.asarray(x, np.float32) for x in (points, mesh.vertices))
    return signed_distance(points, vertices, mesh.faces, mesh.faces, **options)


@pytest.fixture
def box():
    return trimesh.creation.box([0.2, 0.3, 0.4])


def test_signed_distance_equals_trimesh_and_is_positive_inside(rng, box):
    points = rng.uniform(-0.25, 0.25, size=(200, 3))
    expected = trimesh.proximity.signed_distance(box, points)
    np.testing.assert_allclose(sdf_of(points, box), expected, atol=1e-5)
    assert (expected > 0).any() and (expected < 0).any()


def test_the_leak_filter_hides_the_deepest_collisions_and_is_off_by_default(box):
    points = [[0, 0, 0], [0.08, 0, 0], [0.3, 0, 0]]
    np.testing.assert_allclose(sdf_of(points, box), [0.1, 0.02, -0.2], atol=1e-6)
    np.testing.assert_allclose(
        sdf_of(points, box, reference_leak_filter=True), [0, 0.02, -0.2], atol=1e-6
    )


@pytest.mark.parametrize("filtered", [False, True])
def test_a_hand_deep_in_the_head_collides_and_does_not_touch_unless_filtered(rng, filtered):
    """The authors' filter turns a hand 5 cm and deeper into one that touches without collision."""
    ball = trimesh.creation.icosphere(2, 0.1)
    deep = 0.01 * rng.normal(size=(20, 3))
    result = interpenetration(sdf_of(deep, ball, reference_leak_filter=filtered))
    assert bool(result.non_colliding) == bool(result.touching) == filtered
    assert (result.collision_distance == 0) == filtered


def test_vertices_of_cavities_are_not_skin(box):
    cavity = box.vertices[:, 0] > 0  # leaves only the face at x = -0.1
    np.testing.assert_allclose(sdf_of([[0.05, 0, 0]], box, cavity=cavity), [0.15], atol=1e-6)


@pytest.mark.parametrize(
    "depths, distance, free, touching",
    [
        ([-0.02, -0.006], 0.0, True, False),  # apart
        ([-0.02, -0.004], 0.0, True, True),  # almost touching
        ([-0.02, 0.004], 0.002, True, True),  # pressed in, within tolerance
        ([-0.004, 0.006], 0.003, False, True),  # collides, one vertex touches
        ([0.02, 0.01], 0.015, False, False),  # inside: no vertex near the skin
    ],
)
def test_collision_and_touch_follow_from_the_depths(depths, distance, free, touching):
    result = interpenetration(jnp.array(depths))
    assert float(result.collision_distance) == pytest.approx(distance)
    assert bool(result.non_colliding) == free and bool(result.touching) == touching


def test_collision_distance_is_the_mean_over_all_hand_vertices():
    """One of four vertices is 20 mm deep, the others count as 0: 5 mm, not 20 mm."""
    result = interpenetration(jnp.array([0.02, -0.1, -0.1, -0.1]))
    assert float(result.collision_distance) == pytest.approx(0.005)


def test_a_depth_equal_to_the_tolerance_touches_and_collides():
    result = interpenetration(jnp.array([TOLERANCE]))
    assert result.touching and not result.non_colliding


def test_f_score_is_the_harmonic_mean():
    """The first pair is the row of DICE in table 1 of the paper, whose F-Score is 72.7 %."""
    scores = f_score(np.array([0.799, 1.0, 0.0, 0.4]), np.array([0.666, 0.0, 0.0, 0.4]))
    np.testing.assert_allclose(scores, [0.7265, 0.0, 0.0, 0.4], atol=1e-4)
