"""What a training sample tells the network of landmarks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import loss_scenes

from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.configs import default
from dice_jax.structs import Detections
from dice_jax.training import evidence
from dice_jax.training.evidence import EvidenceMix

SIZE = 64
INNER = list(FACE_68[17:])
NONE = {field.name: 0.0 for field in dataclasses.fields(EvidenceMix)}
EXACT = EvidenceMix(**NONE | {"known_camera": 1.0})


@pytest.fixture(scope="module")
def bodies():
    return load_hand(), load_head()


@pytest.fixture(scope="module")
def batch(bodies):
    rng = np.random.default_rng(0)
    batch, _, _ = loss_scenes.random_labels(rng, *bodies, SIZE)
    stored = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), batch.detections)
    known = batch.intrinsics.replace(focal_length=np.full(SIZE, 400.0, np.float32))
    return batch.replace(detections=stored, intrinsics=known)


@pytest.fixture(scope="module")
def draw(bodies, batch):
    @functools.partial(jax.jit, static_argnames="mix")
    def draw(seed, batch, mix):
        return evidence.draw(jax.random.key(seed), batch, *bodies, mix)

    return lambda mix, seed=0, batch=batch: jax.device_get(draw(seed, batch, mix))


def test_every_field_is_in_the_configuration():
    EvidenceMix(**default.get_config().evidence)


def test_without_errors_it_is_the_truth(batch, draw):
    found = draw(EXACT).detections
    hand, face = found.hand_points, found.face_points[:, INNER]
    np.testing.assert_allclose(hand[..., :2], batch.hand_keypoints_2d[..., :2], atol=1e-3)
    np.testing.assert_allclose(face[..., :2], batch.head_keypoints_2d[:, 17:, :2], atol=1e-3)
    assert (hand[..., 3] == 1).all() and (face[..., 3] == 1).all()
    others = np.delete(found.face_points, INNER, axis=1)
    np.testing.assert_array_equal(others, 0)
    # The metric hand and the relative depths are the same hand: one scale maps one to the other.
    world = found.hand_world
    for axis in (0, 1, 2):
        pixels = hand[..., axis] - hand[:, :1, axis]
        meters = world[..., axis] - world[:, :1, axis]
        scale = (pixels * meters).sum(1) / (meters**2).sum(1)
        np.testing.assert_allclose(pixels, scale[:, None] * meters, atol=0.3)


def test_each_share_is_kept(draw, batch):
    mix = dataclasses.replace(EXACT, detected=0.5, no_hand=0.3, no_face=0.25, known_camera=0.4)
    many = [draw(mix, seed) for seed in range(8)]
    found = jax.tree.map(lambda *x: np.concatenate(x), *(drawn.detections for drawn in many))
    hand, face = (points[..., 3].any(1) for points in (found.hand_points, found.face_points))
    assert hand.mean() == pytest.approx(0.7, abs=0.06)
    assert face.mean() == pytest.approx(0.75, abs=0.06)
    stored = np.tile(batch.detections.hand_world, (8, 1, 1))
    is_stored = (found.hand_world == stored).all((1, 2))[hand]
    assert is_stored.mean() == pytest.approx(0.5, abs=0.08)
    known = np.concatenate([np.isfinite(drawn.intrinsics.focal_length) for drawn in many])
    assert known.mean() == pytest.approx(0.4, abs=0.06)


def test_errors_have_their_size(draw, batch):
    mix = dataclasses.replace(EXACT, points=0.03, face=0.02)
    found = draw(mix).detections
    extent = lambda points: 4 * np.sqrt(points.var(1).sum(-1))
    for noisy, true, share in (
        (found.hand_points, batch.hand_keypoints_2d, 0.03),
        (found.face_points[:, INNER], batch.head_keypoints_2d[:, 17:], 0.02),
    ):
        error = (noisy[..., :2] - true[..., :2]).std((1, 2))
        np.testing.assert_allclose((error / extent(true[..., :2])).mean(), share, rtol=0.1)


def test_a_wrong_hand_is_sure_and_elsewhere(draw, batch):
    found = draw(dataclasses.replace(EXACT, wrong_hand=1.0)).detections
    moved = np.linalg.norm(found.hand_points[..., :2] - batch.hand_keypoints_2d[..., :2], axis=-1)
    assert np.median(moved) > 20 and (found.hand_points[..., 3] == 1).all()


def test_a_sample_without_labels_or_without_a_hand_keeps_what_is_stored(draw, batch):
    unlabeled = batch.replace(has_3d=np.zeros(SIZE, np.float32))
    found = draw(EXACT, batch=unlabeled).detections
    jax.tree.map(np.testing.assert_array_equal, found, batch.detections)
    nothing = batch.replace(has_3d=np.zeros(SIZE, np.float32), detections=Detections.nothing(SIZE))
    assert not draw(EXACT, batch=nothing).detections.hand_points.any()


def test_evidence_depends_on_the_step_and_on_the_place_in_the_whole_batch(draw, bodies, batch):
    mix = EvidenceMix(**default.get_config().evidence)
    whole, again, other = draw(mix, 3), draw(mix, 3), draw(mix, 4)
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    assert np.abs(whole.detections.hand_points - other.detections.hand_points).max() > 1
    halves = jax.tree.map(lambda x: jnp.reshape(x, (2, SIZE // 2, *np.shape(x)[1:])), batch)
    split = jax.vmap(
        lambda half: evidence.draw(jax.random.key(3), half, *bodies, mix, "devices"),
        axis_name="devices",
    )(halves)
    joined = jax.tree.map(lambda x: np.reshape(x, (SIZE, *x.shape[2:])), split.detections)
    close = functools.partial(np.testing.assert_allclose, atol=1e-3)
    jax.tree.map(close, joined, whole.detections)
