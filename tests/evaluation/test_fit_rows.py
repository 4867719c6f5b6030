"""Simulated detections have the stated errors; the fit is a predictor like the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from support import fit_problems
from support.fast_compile import run_fast

from dice_jax import inference, models
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.errors import UserError
from dice_jax.evaluation import fit_rows
from dice_jax.fitting import detector_points, fit
from dice_jax.models import presets
from dice_jax.structs import Detections

SEEDS = 25
INNER = list(FACE_68[17:])


@pytest.fixture(scope="module")
def batch(whole):
    return whole[2]


@pytest.fixture(scope="module")
def drawn(bodies, batch):
    """Simulated detections of the samples for many seeds, and the true poses."""
    targets = jax.jit(models.pose_targets)(batch, *bodies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "pose_targets", lambda *_: targets)
        found = [fit_rows.simulated(*bodies, seed=seed)(batch) for seed in range(SEEDS)]
    return jax.tree.map(lambda *x: np.stack(x), *found), jax.device_get(targets)


def spread(errors):
    """Standard deviation from the median, which a few outliers do not change."""
    return np.median(np.abs(errors)) / 0.6745


def no_network(bodies):
    """A model whose network is never called."""
    return inference.Model({}, *bodies, jnp.zeros((843, 3)), nn.Dense(1))


def test_errors_of_the_hand(drawn, batch):
    detections, targets = drawn
    off = detections.hand_points[..., :2] - batch.hand_keypoints_2d[None, ..., :2]
    assert spread(off) == pytest.approx(1.5, rel=0.1)
    assert np.median(off) == pytest.approx(0.0, abs=0.15)
    far = np.linalg.norm(off, axis=-1) > 7.0
    assert 0.015 < far.mean() < 0.04
    unseen = detections.hand_points[..., 3] == 0
    assert unseen.mean() == pytest.approx(0.1, abs=0.03)
    centered = targets.hand_keypoints - targets.hand_keypoints.mean(-2, keepdims=True)
    assert spread(detections.hand_world - centered[None]) == pytest.approx(0.006, rel=0.1)


def test_errors_of_the_face(drawn, batch):
    detections, targets = drawn
    points = detections.face_points[:, :, INNER]
    off = points[..., :2] - batch.head_keypoints_2d[None, :, 17:, :2]
    assert off.std() == pytest.approx(1.0, rel=0.05)
    assert (points[..., 3] == 1.0).all()
    others = np.setdiff1d(np.arange(468), INNER)
    assert np.abs(detections.face_points[:, :, others]).max() == 0.0
    # Depth has the scale of the pixels, relative to any plane.
    depth = targets.head_keypoints[:, 17:, 2]
    for i in range(len(depth)):
        x = np.tile(depth[i], SEEDS)
        slope, level = np.polyfit(x, points[:, i, :, 2].ravel(), 1)
        residual = points[:, i, :, 2].ravel() - slope * x - level
        assert residual.std() / slope == pytest.approx(0.008, rel=0.15)


def test_detections_depend_on_seed_and_pixels_alone(bodies, batch, drawn):
    detections, _ = drawn
    detect = fit_rows.simulated(*bodies, seed=3)
    again = detect(batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[3], atol=1e-3), again, detections)
    first, second = detections.hand_points[0], detections.hand_points[1]
    assert np.abs(first - second).max() > 0.1
    # In another order, each sample is detected as before.
    order = np.array([3, 0, 4, 1, 2])
    moved = detect(jax.tree.map(lambda x: np.asarray(x)[order], batch))
    np.testing.assert_allclose(moved.hand_points, again.hand_points[order], atol=1e-3)
    np.testing.assert_allclose(moved.face_points, again.face_points[order], atol=1e-3)
    changed = batch.replace(images=np.asarray(batch.images) // 2)
    assert np.abs(detect(changed).hand_points - again.hand_points).max() > 0.1


def test_unlabeled_keypoints_are_not_detected(bodies, batch):
    hidden = batch.replace(
        hand_keypoints_2d=np.asarray(batch.hand_keypoints_2d) * np.float32([1, 1, 0]),
        head_keypoints_2d=np.asarray(batch.head_keypoints_2d) * np.float32([1, 1, 0]),
    )
    found = fit_rows.simulated(*bodies)(hidden)
    assert found.hand_points[..., 3].max() == 0.0
    assert found.face_points[..., 3].max() == 0.0


def test_nothing_is_found_in_noise(batch):
    images = np.random.default_rng(0).integers(0, 255, (2, 224, 224, 3), dtype=np.uint8)
    found = fit_rows.detected(
        jax.tree.map(lambda x: np.asarray(x)[:2], batch).replace(images=images)
    )
    assert found.hand_points.shape == (2, 21, 4)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), found)


def test_stored_detections_are_used(batch):
    stored = Detections.nothing(len(batch.images))
    stored.hand_points[1, :, 3] = 0.7
    assert fit_rows.detected(batch.replace(detections=stored)) is stored


def test_a_neutral_prediction_knows_nothing_of_the_image(bodies):
    """The Benchmark row starts from it: shapes, poses, places and contacts are gone."""
    rng = np.random.default_rng(3)
    prepared = detector_points.prepare(*bodies)
    camera, _ = fit_problems.random_camera(rng)
    hands = [
        fit_problems.placed_hand(prepared, fit_problems.random_hand(rng), [x, 0.0, -0.2])
        for x in (0.1, -0.1)
    ]
    two = fit_problems.stack(
        *(
            fit_problems.prediction(
                prepared, hand, fit_problems.random_head(rng), camera, presence=0.9
            )
            for hand in hands
        )
    )
    free = fit_rows.without_interaction(two)
    np.testing.assert_array_equal(free.contact_presence, 0.0)
    np.testing.assert_array_equal(free.deformed_head_vertices, free.head_vertices)
    np.testing.assert_array_equal(free.hand_vertices, two.hand_vertices)
    neutral = run_fast(lambda p: fit_rows.neutral(p, *bodies), free)
    for leaf in jax.tree.leaves(neutral):
        np.testing.assert_array_equal(leaf[0], leaf[1])
    np.testing.assert_allclose(neutral.head_vertices.mean(1), 0.0, atol=1e-6)
    assert (np.asarray(neutral.hand_vertices)[..., 2].mean(1) < -0.05).all()  # before the face


def test_the_fit_is_a_predictor(bodies, batch, monkeypatch):
    """With a network that gives the same answer for all images."""
    rng = np.random.default_rng(0)
    prepared = detector_points.prepare(*bodies)
    camera, _ = fit_problems.random_camera(rng)
    hand = fit_problems.placed_hand(prepared, fit_problems.random_hand(rng), [0.1, 0.0, -0.2])
    one = fit_problems.prediction(
        prepared, hand, fit_problems.random_head(rng), camera, presence=0.9
    )
    seen = []

    def infer(model, images, detections, intrinsics, gate_by_presence):
        seen.append(gate_by_presence)
        return fit_problems.stack(*[one] * len(images))

    monkeypatch.setattr(inference, "infer", infer)
    refine = fit.refine
    monkeypatch.setattr(fit, "refine", lambda *args: run_fast(refine, *args))
    three = jax.tree.map(lambda x: jnp.asarray(x[:3]), batch)
    found = fit_rows.predictor(no_network(bodies), fit_rows.simulated(*bodies))(three)
    assert seen == [False]
    for leaf in jax.tree.leaves(found):
        assert np.isfinite(leaf).all()
        assert len(leaf) == 3
    apart = np.asarray(found.contact_presence) <= 0.5
    assert np.abs(np.asarray(found.deformations)[apart]).max(initial=0.0) == 0.0
    assert np.asarray(found.head_contact_probs)[apart].max(initial=0.0) == 0.0
    np.testing.assert_allclose(
        found.deformed_head_vertices, found.head_vertices - found.deformations, atol=1e-7
    )


@pytest.mark.parametrize("word", ["nonsense", "keypoints:nonsense", "keypoints:", ""])
def test_an_unknown_row_is_one_clear_line(bodies, word):
    with pytest.raises(UserError) as error:
        fit_rows.predictors(["keypoints", word], no_network(bodies), bodies, rendered=False)
    message = str(error.value)
    assert f"--fit={word}:" in message and "keypoints or detected" in message
    assert "\n" not in message


def _tiny(width):
    section = presets.tiny()
    section.evidence_hidden = width
    return section


@pytest.mark.parametrize("width", [0, 16])
def test_networks_that_see_landmarks_get_a_row_without_the_fit(bodies, width):
    model, _ = models.create_model(_tiny(width), *bodies)
    seeing = no_network(bodies).replace(module=model)
    rows = fit_rows.predictors(["detected"], seeing, bodies, rendered=True)
    assert list(rows) == (["model_detected"] if width else []) + ["model_fit_detected"]


def test_a_network_is_told_the_landmarks_and_the_cameras(bodies, batch, monkeypatch):
    seen = []
    monkeypatch.setattr(inference, "infer", lambda model, *inputs: seen.append(inputs))
    fit_rows.seeing(no_network(bodies), lambda batch: "found")(batch)
    ((images, found, intrinsics),) = seen
    assert images is batch.images and found == "found" and intrinsics is batch.intrinsics
