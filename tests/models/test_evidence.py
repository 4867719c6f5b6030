"""Detected landmarks place the templates where they were seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.random_detections import random_detections, random_intrinsics

from dice_jax import models
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.models.evidence import weigh_evidence
from dice_jax.models.layers import tokens as layout
from dice_jax.models.template import template_in_view
from dice_jax.structs import Detections, Intrinsics

INNER = list(FACE_68[17:])


@pytest.fixture
def queries(network):
    return network[1]


def posed_templates(rng, queries, size=3):
    """Detections of both templates in random poses, with the poses; orthographic and exact."""
    template = np.asarray(template_in_view(queries), np.float64)
    turns = Rotation.random(2 * size, random_state=int(rng.integers(1e6))).as_matrix()
    turns = turns.reshape(size, 2, 3, 3)
    scale, center = rng.uniform(300, 800, size), rng.uniform(80, 140, (size, 2))
    offset = rng.uniform(-0.1, 0.1, (size, 2))
    found = Detections.nothing(size)
    for i in range(size):
        hand = template[layout.HAND_KEYPOINTS] @ turns[i, 0].T
        face = template[layout.HEAD_KEYPOINTS][17:] @ turns[i, 1].T
        pixels = lambda points, shift=0.0, i=i: scale[i] * (points[:, :2] + shift) + center[i]
        found.hand_points[i, :, :2] = pixels(hand, offset[i])
        found.hand_points[i, :, 3] = 1
        found.hand_world[i] = hand + rng.normal(size=3)
        found.face_points[i, INNER] = np.column_stack(
            [pixels(face), scale[i] * face[:, 2], np.ones(51)]
        )
    return jax.tree.map(jnp.asarray, found), turns, scale, center, offset


def test_templates_are_placed_at_the_detected_points(rng, queries):
    found, turns, scale, center, offset = posed_templates(rng, queries)
    # The face mesh has 468 points, of which the other 417 are not looked at.
    evidence = jax.jit(weigh_evidence)(found, Intrinsics.unknown(3), queries)
    np.testing.assert_allclose(evidence.orientations, turns, atol=2e-3)
    np.testing.assert_allclose(evidence.offset, offset, atol=1e-4)
    np.testing.assert_allclose(evidence.camera.scale, scale, rtol=1e-4)
    np.testing.assert_allclose(evidence.camera.transl, center, atol=0.05)


def test_points_that_are_not_seen_do_not_move_the_placement(rng, queries):
    found, turns, scale, _, offset = posed_templates(rng, queries)
    hidden = jnp.array([2, 7, 8, 16])
    found = found.replace(
        hand_points=found.hand_points.at[:, hidden].set(0.0),
        face_points=found.face_points.at[:, jnp.array(INNER[:9])].set(0.0),
    )
    evidence = jax.jit(weigh_evidence)(found, Intrinsics.unknown(3), queries)
    np.testing.assert_allclose(evidence.orientations, turns, atol=2e-3)
    np.testing.assert_allclose(evidence.offset, offset, atol=1e-4)
    np.testing.assert_allclose(evidence.camera.scale, scale, rtol=1e-4)


def test_a_detection_changes_nothing_in_what_it_does_not_show(rng, queries):
    found, *_ = posed_templates(rng, queries)
    weigh = jax.jit(weigh_evidence)
    whole = weigh(found, Intrinsics.unknown(3), queries)
    no_hand = found.replace(hand_points=jnp.zeros((3, 21, 4)))
    face = weigh(no_hand, Intrinsics.unknown(3), queries)
    nothing = weigh(
        jax.tree.map(jnp.asarray, Detections.nothing(3)), Intrinsics.unknown(3), queries
    )
    np.testing.assert_allclose(face.orientations[:, 1], whole.orientations[:, 1], atol=1e-6)
    for evidence in (face, nothing):
        np.testing.assert_allclose(
            evidence.orientations[:, 0], np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-5
        )
        np.testing.assert_array_equal(evidence.offset, 0)
        np.testing.assert_array_equal(evidence.has_hand, 0)
    np.testing.assert_array_equal(nothing.features, 0)
    np.testing.assert_array_equal(nothing.keypoints, 0)


def test_damaged_points_are_not_seen(rng, queries):
    found = random_detections(rng, 2)
    broken = found.replace(
        hand_points=found.hand_points.at[0].set(jnp.nan),
        hand_world=found.hand_world.at[0].set(jnp.inf),
    )
    evidence = weigh_evidence(broken, random_intrinsics(rng, 2), queries)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(evidence))
    np.testing.assert_array_equal(evidence.has_hand, [0, 1])


def test_features_are_about_one_in_size(rng, queries):
    found = random_detections(rng, 20)
    evidence = weigh_evidence(found, random_intrinsics(rng, 20), queries)
    assert np.abs(evidence.features).max() <= 8 and np.std(evidence.features) > 0.1


def test_the_network_runs_without_detections_and_depends_on_them(rng, network):
    module, queries, variables = network
    images = rng.integers(0, 256, (2, 224, 224, 3), np.uint8)
    run = jax.jit(lambda *seen: module.apply(variables, *seen, train=False))
    pixels = models.preprocess(images)
    size = len(pixels)
    nothing = jax.tree.map(jnp.asarray, Detections.nothing(size))
    without = run(pixels, queries)
    empty = run(pixels, queries, nothing, Intrinsics.unknown(size))
    seen = run(pixels, queries, random_detections(rng, size), random_intrinsics(rng, size))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), without, empty)
    moved = np.abs(seen.rough.hand_vertices - without.rough.hand_vertices).max((1, 2))
    assert (moved > 1e-3).all()
