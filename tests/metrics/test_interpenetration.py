import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from dice_jax.metrics import interpenetration as metric

signed_distance = jax.jit(metric.hand_signed_distance, static_argnames="reference_leak_filter")


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


def test_leak_filter_hides_the_deepest_collisions_and_only_on_request(box):
    points = [[0, 0, 0], [0.08, 0, 0], [0.3, 0, 0]]
    np.testing.assert_allclose(sdf_of(points, box), [0.1, 0.02, -0.2], atol=1e-6)
    np.testing.assert_allclose(
        sdf_of(points, box, reference_leak_filter=True), [0, 0.02, -0.2], atol=1e-6
    )


def test_cavities_are_no_skin(box):
    cavity = box.vertices[:, 0] > 0  # leaves the face at x = -0.1 alone
    np.testing.assert_allclose(sdf_of([[0.05, 0, 0]], box, cavity=cavity), [0.15], atol=1e-6)


@pytest.mark.parametrize(
    "depths, distance, free, touching",
    [
        ([-0.02, -0.006], 0.0, True, False),  # apart
        ([-0.02, -0.004], 0.0, True, True),  # almost touching
        ([-0.02, 0.004], 0.002, True, True),  # pressed in, within tolerance
        ([-0.004, 0.006], 0.003, False, True),  # collides, one vertex touches
        ([0.02, 0.01], 0.015, False, False),  # swallowed: no vertex near the skin
    ],
)
def test_collision_and_touch_by_hand(depths, distance, free, touching):
    result = metric.interpenetration(jnp.array(depths))
    assert float(result.collision_distance) == pytest.approx(distance)
    assert bool(result.non_colliding) == free and bool(result.touching) == touching


def test_the_tolerance_itself_touches_and_collides():
    result = metric.interpenetration(jnp.array([metric.TOLERANCE]))
    assert result.touching and not result.non_colliding


def test_f_score_is_the_harmonic_mean():
    assert metric.f_score(0.799, 0.666) == pytest.approx(
        0.7265, abs=1e-4
    )  # the paper's own row for DICE: 72.7
    assert metric.f_score(1.0, 0.0) == metric.f_score(0.0, 0.0) == 0
    assert metric.f_score(0.4, 0.4) == pytest.approx(0.4)
