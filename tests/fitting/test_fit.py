"""Network and detections together: what is seen is followed, the rest is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import fit_problems

from dice_jax.body_models.landmarks import FACE_68
from dice_jax.fitting import fit
from dice_jax.geometry.camera import project_scaled_perspective
from dice_jax.structs import Camera, Detections, Intrinsics

UNSEEN_FACE, UNSEEN_HAND = 1, 2  # samples of the batch


@pytest.fixture(scope="module")
def people(models):
    """Three (true hand, true head, prediction, detections, intrinsics), stacked."""
    rng = np.random.default_rng(5)
    samples = []
    for i in range(3):
        head = fit_problems.random_head(rng)
        camera, intrinsics = fit_problems.random_camera(rng)
        center = [0.1, 0.02, -0.25]
        hand = fit_problems.placed_hand(models, fit_problems.random_hand(rng), center)
        guess = fit_problems.prediction(
            models,
            fit_problems.placed_hand(models, fit_problems.random_hand(rng), center),
            fit_problems.random_head(rng),
            Camera(1.05 * camera.scale, camera.transl + 4.0),
            presence=0.2,
        )
        points, world = fit_problems.seen_hand(models, hand, camera, intrinsics)
        face = fit_problems.seen_face(models, head, camera, intrinsics)
        if i == UNSEEN_FACE:
            face[:, 3] = 0.0
        if i == UNSEEN_HAND:
            points[:, 3] = 0.0
        detections = Detections(points, jnp.asarray(world), face)
        samples.append((hand, head, guess, detections, intrinsics))
    return fit_problems.stack(*samples)


@pytest.fixture(scope="module")
def refined(models, people):
    *_, prediction, detections, intrinsics = people
    return jax.device_get(fit.refine(models, prediction, detections, intrinsics))


def test_seen_parts_are_nearer_to_their_keypoints(people, refined):
    _, _, prediction, detections, _ = people
    inner = slice(17, None)  # the jaw contour is no fixed part of the skin
    face = np.asarray(detections.face_points)[:, list(FACE_68), :2][:, inner]
    hand = np.asarray(detections.hand_points)[..., :2]
    error = lambda found, true: np.linalg.norm(np.asarray(found) - true, axis=-1).mean(-1)
    before = error(prediction.head_keypoints_2d[:, inner], face)
    after = error(refined.head_keypoints_2d[:, inner], face)
    seen = np.arange(3) != UNSEEN_FACE
    assert (after < 0.5 * before)[seen].all()
    assert (after < 3.0)[seen].all()
    before, after = (error(x.hand_keypoints_2d, hand) for x in (prediction, refined))
    assert after[0] < min(6.0, before[0])  # knuckles of the detector lie beside the joints


def test_unseen_parts_stay_as_the_network_predicts_them(people, refined):
    prediction = people[2]
    same = lambda name, i: np.testing.assert_array_equal(
        getattr(refined, name)[i], getattr(prediction, name)[i]
    )
    for name in ("head_vertices", "head_keypoints_3d", "head_keypoints_2d"):
        same(name, UNSEEN_FACE)
    for name in ("hand_vertices", "hand_keypoints_3d", "contact_presence", "hand_contact_probs"):
        same(name, UNSEEN_HAND)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[UNSEEN_HAND], b[UNSEEN_HAND]),
        refined.hand_params,
        prediction.hand_params,
    )
    assert np.abs(refined.hand_vertices[0] - prediction.hand_vertices[0]).max() > 1e-3
    assert np.abs(refined.head_vertices[0] - prediction.head_vertices[0]).max() > 1e-3


def test_keypoints_are_the_projections_of_a_fitted_person(people, refined):
    intrinsics = people[4]
    for part in ("hand", "head"):
        projected = project_scaled_perspective(
            jnp.asarray(getattr(refined, f"{part}_keypoints_3d")),
            refined.camera.scale,
            refined.camera.transl,
            intrinsics.focal_length,
            intrinsics.camera_center,
        )
        np.testing.assert_allclose(
            getattr(refined, f"{part}_keypoints_2d")[0], projected[0], atol=1e-2
        )


def test_meshes_and_deformations_agree(refined):
    for leaf in jax.tree.leaves(refined):
        assert np.isfinite(leaf).all()
    np.testing.assert_allclose(
        refined.deformed_head_vertices, refined.head_vertices - refined.deformations, atol=1e-7
    )


def test_a_batch_equals_its_samples(people, refined, fit_head, fit_hand):
    """The refinement is the fit of the head, and then that of the hand in front of it."""
    _, _, predictions, all_detections, all_intrinsics = people
    prediction, detections, intrinsics = jax.tree.map(
        lambda x: x[0], (predictions, all_detections, all_intrinsics)
    )
    guess = fit.HeadGuess(prediction.head_params, prediction.camera)
    head = fit_head(guess, detections.face_points, intrinsics)
    np.testing.assert_allclose(head.vertices, refined.head_vertices[0], atol=1e-4)
    hand = fit_hand(
        fit.HandProblem(
            head=head,
            has_head=jnp.array(True),
            prediction=prediction,
            points=detections.hand_points,
            world=detections.hand_world,
            touches=jnp.asarray(prediction.contact_presence),
            intrinsics=intrinsics,
            known_camera=jnp.array(True),
            left=jnp.array(False),
        )
    )
    np.testing.assert_allclose(hand.vertices, refined.hand_vertices[0], atol=3e-4)
    np.testing.assert_allclose(hand.contact_presence, refined.contact_presence[0], atol=1e-3)


def test_the_samples_of_a_batch_at_once_equal_one_after_the_other(
    models, people, refined, monkeypatch
):
    """On an accelerator the fits are vectorized over the batch; on a CPU they are not."""
    monkeypatch.setattr(
        fit, "_over_batch", lambda function, arguments: jax.vmap(function)(arguments)
    )
    _, _, prediction, detections, intrinsics = people
    # A copy, because the other way is compiled already.
    at_once = jax.jit(lambda *args: fit.refine.__wrapped__(*args))
    for name in ("fit_heads", "fit_hands"):
        monkeypatch.setattr(fit, name, getattr(fit, name).__wrapped__)
    found = jax.device_get(at_once(models, prediction, detections, intrinsics))
    np.testing.assert_allclose(found.head_vertices, refined.head_vertices, atol=2e-4)
    np.testing.assert_allclose(found.hand_vertices, refined.hand_vertices, atol=5e-4)
    np.testing.assert_allclose(found.contact_presence, refined.contact_presence, atol=1e-2)


def test_a_camera_that_nobody_knows_is_the_typical_one(models, people):
    _, _, prediction, detections, _ = people
    unknown = Intrinsics.unknown(3)
    expected = fit.refine(models, prediction, detections)
    found = fit.refine(models, prediction, detections, jax.tree.map(jnp.asarray, unknown))
    np.testing.assert_allclose(found.head_vertices, expected.head_vertices, atol=1e-4)
    np.testing.assert_allclose(found.hand_vertices, expected.hand_vertices, atol=3e-4)


def test_samples_do_not_depend_on_their_neighbors(models, people, refined):
    reverse = lambda tree: jax.tree.map(lambda x: x[::-1], tree)
    _, _, prediction, detections, intrinsics = people
    found = fit.refine(models, *reverse((prediction, detections, intrinsics)))
    jax.tree.map(np.testing.assert_array_equal, reverse(jax.device_get(found)), refined)


def test_a_left_head_is_the_mirror_image(models, people):
    """A network that saw the mirrored photo guesses the head itself."""
    head = jax.tree.map(lambda x: x[0], people[1])
    zeros = jnp.zeros(3)
    plain = people[2].replace(head_params=head.replace(jaw_pose=zeros, neck_pose=zeros))
    flip, order = np.float32([-1.0, 1.0, 1.0]), np.asarray(models.mirror_ids)
    vertices = []
    for side in ("right", "left"):
        guess = fit.head_guess(models, plain, side)
        posed = np.asarray(fit_problems.pose_head(models.head_model, guess.params).vertices)
        vertices.append(posed - posed.mean(0))
    right, left = vertices
    np.testing.assert_allclose(left, right[order] * flip, atol=1e-3)
