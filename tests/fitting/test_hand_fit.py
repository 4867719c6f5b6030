"""Hands with known parameters are found again, in front of a head and on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import fit_problems, solved_scenes

from dice_jax.body_models import finger_joints
from dice_jax.constants import CROP_SIZE
from dice_jax.fitting import fit
from dice_jax.geometry import sdf
from dice_jax.structs import Camera, Intrinsics

FREE = [0.10, 0.02, -0.30]  # meters: of a hand between face and camera
PALM = (0, 5, 9, 13, 17)
FLIP = np.float32([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def free_hand(models):
    """Function that draws (problem, true parameters) of a hand that touches nothing."""

    def draw(rng, center=FREE, **changes):
        head = fit_problems.random_head(rng)
        camera, intrinsics = fit_problems.random_camera(rng)
        hand = fit_problems.placed_hand(models, fit_problems.random_hand(rng), center)
        network = fit_problems.placed_hand(models, fit_problems.random_hand(rng), center)
        prediction = fit_problems.prediction(models, network, head, camera)
        points, world = fit_problems.seen_hand(models, hand, camera, intrinsics)
        problem = fit.HandProblem(
            head=fit_problems.centered_head(models, head, camera),
            has_head=jnp.array(True),
            prediction=prediction,
            points=points,
            world=world,
            touches=jnp.array(0.0),
            intrinsics=intrinsics,
            known_camera=jnp.array(False),
            left=jnp.array(False),
        )
        return problem.replace(**changes), hand

    return draw


def touching_hand(models, scene, camera, intrinsics, offset=(0.0, 0.0, 0.0)):
    """(problem, true vertices) of a solved scene, seen from in front of the face.

    Args:
        offset: from the true hand to the network's, meters.
    """
    upright = Rotation.from_rotvec(fit_problems.FACING)
    head = fit_problems.random_head(
        np.random.default_rng(0),
        betas=scene.person.head_betas,
        expression=scene.face.expression,
        global_orient=fit_problems.FACING,
        neck_pose=np.zeros(3),
        jaw_pose=scene.face.jaw_pose,
    )
    posed = fit_problems.centered_head(models, head, camera)
    # The scene's hand moves with the head, whose root is turned about its own joint.
    unposed = scene.head_vertices
    turned = upright.apply(unposed - unposed.mean(0))
    np.testing.assert_allclose(posed.vertices, turned, atol=1e-4)
    orient = (upright * Rotation.from_rotvec(scene.hand_params.global_orient)).as_rotvec()
    hand = fit_problems.random_hand(
        np.random.default_rng(0),
        betas=scene.hand_params.betas,
        global_orient=orient,
        hand_pose=scene.hand_params.hand_pose,
    )
    true = upright.apply(scene.hand_vertices - unposed.mean(0))
    mesh = np.asarray(fit_problems.pose_hand(models.hand_model, hand).vertices)
    hand = hand.replace(transl=jnp.asarray((true - mesh).mean(0), jnp.float32))
    points, world = fit_problems.seen_hand(models, hand, camera, intrinsics)
    network = hand.replace(transl=hand.transl + jnp.asarray(offset, jnp.float32))
    prediction = fit_problems.prediction(
        models,
        network,
        head,
        camera,
        presence=1.0,
        hand_contact=scene.hand_contact,
        head_contact=scene.head_contact,
        deformations=upright.apply(scene.deformations),
    )
    problem = fit.HandProblem(
        head=posed,
        has_head=jnp.array(True),
        prediction=prediction,
        points=points,
        world=world,
        touches=jnp.array(1.0),
        intrinsics=intrinsics,
        known_camera=jnp.array(False),
        left=jnp.array(False),
    )
    return problem, true


def pixels_off(models, problem, hand, points=None):
    """Distance of each projected keypoint from the detected one."""
    _, _, keypoints = models.hand.pose(hand.params)
    camera = problem.head.fitted.camera
    projected = fit_problems.project(keypoints, camera, problem.intrinsics)
    points = problem.points if points is None else points
    return np.linalg.norm(projected - points[:, :2], axis=-1)


def depth_inside(models, problem, hand):
    """How deep each vertex of the hand is inside the head, meters; negative outside."""
    return np.asarray(_signed_distance(hand.vertices, problem.head.vertices, models.head_model))


@jax.jit
def _signed_distance(points, vertices, model):
    return sdf.signed_distance(
        points,
        vertices,
        model.faces,
        closed_faces=model.closed_faces,
        exclude_vertices=model.cavity,
    )


def palm_turn(models, first, second):
    """Degrees between the palms of two hands."""
    centered = []
    for params in (first, second):
        keypoints = np.asarray(fit_problems.pose_hand(models.hand_model, params).keypoints)
        palm = keypoints[list(PALM)]
        centered.append(palm - palm.mean(0))
    rotation, _ = Rotation.align_vectors(*centered)
    return np.rad2deg(rotation.magnitude())


def mirrored(models, problem):
    """The same person in the mirrored photo, where a right hand is a left one."""
    order = np.asarray(models.mirror_ids)
    flip_pixels = lambda x: jnp.stack([CROP_SIZE - x[..., 0], x[..., 1]], -1)
    camera, intrinsics = problem.head.fitted.camera, problem.intrinsics
    fitted = problem.head.fitted.replace(camera=Camera(camera.scale, flip_pixels(camera.transl)))
    head = problem.head.replace(fitted=fitted, vertices=problem.head.vertices[order] * FLIP[None])
    points = np.array(problem.points)
    points[:, 0] = CROP_SIZE - points[:, 0]
    return problem.replace(
        head=head,
        points=points,
        world=problem.world * FLIP[None],
        intrinsics=Intrinsics(intrinsics.focal_length, flip_pixels(intrinsics.camera_center)),
        left=jnp.array(True),
    )


def test_exact_keypoints_give_pixels_and_palm(models, fit_hand, free_hand, rng):
    for _ in range(3):
        problem, true = free_hand(rng)
        hand = fit_hand(problem)
        off = pixels_off(models, problem, hand)
        assert hand.accepted
        assert np.sqrt((off**2).mean()) < 0.5
        assert float(hand.residual) == pytest.approx(np.sqrt((off**2).mean()), abs=0.05)
        assert palm_turn(models, hand.params, true) < 3.0
        assert hand.contact_presence == 0.0


def test_meshes_are_posed_by_the_parameters(models, fit_hand, free_hand, rng):
    hand = fit_hand(free_hand(rng)[0])
    posed = fit_problems.pose_hand(models.hand_model, hand.params)
    np.testing.assert_allclose(hand.vertices, posed.vertices, atol=2e-6)
    np.testing.assert_allclose(hand.keypoints, posed.keypoints, atol=2e-6)


def test_a_third_of_the_keypoints_may_be_wrong(models, fit_hand, free_hand, rng):
    """The others are kept; nothing in the image tells where the wrong ones are."""
    for _ in range(3):
        problem, true = free_hand(rng)
        moved = problem.points.copy()
        wrong = rng.choice(21, 6, replace=False)
        moved[wrong, :2] += rng.choice([-40.0, 40.0], (6, 2))
        hand = fit_hand(problem.replace(points=moved))
        right = np.setdiff1d(np.arange(21), wrong)
        off = pixels_off(models, problem, hand)[right]
        assert np.sqrt((off**2).mean()) < 4.0
        assert palm_turn(models, hand.params, true) < 15.0
        assert hand.sigma[wrong].mean() > 2.0 * hand.sigma[right].mean()


def test_keypoints_of_no_confidence_do_not_matter(fit_hand, free_hand, rng):
    problem, _ = free_hand(rng)
    points = problem.points.copy()
    points[[4, 8, 15], 3] = 0.0
    expected = fit_hand(problem.replace(points=points))
    for value in (500.0, np.nan):
        points[[4, 8, 15], :3] = value
        found = fit_hand(problem.replace(points=points))
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-5)


@pytest.mark.parametrize("what", ["points", "confidences", "world", "all"])
def test_detections_that_are_no_numbers_give_a_finite_hand(fit_hand, free_hand, rng, what):
    problem, _ = free_hand(rng)
    points, world = problem.points.copy(), np.array(problem.world)
    if what in ("points", "all"):
        points[:, :2] = np.nan
    if what in ("confidences", "all"):
        points[:, 3] = np.nan
    if what in ("world", "all"):
        world[5] = np.nan
    hand = fit_hand(problem.replace(points=points, world=world))
    for leaf in (hand.vertices, hand.keypoints, hand.deformations, hand.head_contact_probs):
        assert np.isfinite(leaf).all()
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, x), hand.params)


def test_without_detections_the_hand_stays_near_the_network(fit_hand, free_hand, rng):
    problem, _ = free_hand(rng)
    zeros = lambda *shape: np.zeros(shape, np.float32)
    hand = fit_hand(problem.replace(points=zeros(21, 4), world=zeros(21, 3)))
    network = problem.prediction
    assert np.isfinite(hand.vertices).all()
    assert abs(hand.keypoints[:, 2].mean() - network.hand_keypoints_3d[:, 2].mean()) < 0.01


def test_the_depth_of_a_free_hand_is_the_networks(fit_hand, free_hand, rng):
    """Keypoints in the image say nothing of it: size and distance change them alike."""
    for _ in range(3):
        problem, _ = free_hand(rng)
        deeper = problem.prediction.hand_keypoints_3d + jnp.array([[0.0, 0.0, 0.05]])
        prediction = problem.prediction.replace(hand_keypoints_3d=deeper)
        hand = fit_hand(problem.replace(prediction=prediction))
        assert abs(hand.keypoints[:, 2].mean() - deeper[:, 2].mean()) < 0.015


def test_the_size_of_a_hand_corrects_its_depth_where_the_camera_is_known(fit_hand, free_hand, rng):
    """The network is 12 cm off; a hand of mean shape has the size that the fit expects."""
    for _ in range(3):
        problem, _ = free_hand(rng, known_camera=jnp.array(True))
        deeper = problem.prediction.hand_keypoints_3d + jnp.array([[0.0, 0.0, 0.12]])
        sigma = jnp.asarray(0.15)
        prediction = problem.prediction.replace(hand_keypoints_3d=deeper, hand_depth_sigma=sigma)
        hand = fit_hand(problem.replace(prediction=prediction))
        error = lambda depth: abs(depth - FREE[2])
        assert error(hand.keypoints[:, 2].mean()) < 0.75 * error(deeper[:, 2].mean())
        sure = prediction.replace(hand_depth_sigma=jnp.asarray(0.005))
        held = fit_hand(problem.replace(prediction=sure))
        assert abs(held.keypoints[:, 2].mean() - deeper[:, 2].mean()) < 0.03


def test_a_left_hand_is_the_mirror_image_of_a_right_one(models, fit_hand, free_hand, rng):
    order = np.asarray(models.mirror_ids)
    np.testing.assert_array_equal(order[order], np.arange(5023))
    camera, intrinsics = fit_problems.random_camera(rng)
    free, _ = free_hand(rng)
    touching, _ = touching_hand(models, solved_scenes.load()[0], camera, intrinsics)
    for problem in (free, touching):
        right, left = fit_hand(problem), fit_hand(mirrored(models, problem))
        np.testing.assert_allclose(left.vertices, right.vertices * FLIP, atol=2e-4)
        np.testing.assert_allclose(left.keypoints, right.keypoints * FLIP, atol=2e-4)
        for a, b in zip(jax.tree.leaves(left.params), jax.tree.leaves(right.params)):
            np.testing.assert_allclose(a, b, atol=5e-3)
        np.testing.assert_allclose(left.residual, right.residual, atol=0.02)
        np.testing.assert_allclose(left.contact_presence, right.contact_presence, atol=0.02)
        np.testing.assert_allclose(left.deformations, right.deformations[order] * FLIP, atol=5e-4)


def test_without_a_head_nothing_touches(fit_hand, free_hand, rng):
    """Wherever the head would be, and if its numbers are huge."""
    problem, _ = free_hand(rng, center=[0.0, 0.0, -0.05])
    alone = problem.replace(has_head=jnp.array(False), touches=jnp.array(1.0))
    hand = fit_hand(alone)
    assert hand.accepted and np.isfinite(hand.vertices).all()
    assert hand.contact_presence == 0.0
    assert np.abs(hand.deformations).max() == 0.0
    assert hand.hand_contact_probs.max() == 0.0 and hand.head_contact_probs.max() == 0.0
    elsewhere = alone.replace(
        head=alone.head.replace(vertices=alone.head.vertices + jnp.array([[0.05, 0.0, 0.1]]))
    )
    np.testing.assert_allclose(fit_hand(elsewhere).vertices, hand.vertices, atol=1e-5)


def test_impossible_keypoints_do_not_break_fingers(fit_hand, free_hand, rng):
    low, high = finger_joints.joint_limits()
    problem, _ = free_hand(rng)
    points, world = problem.points.copy(), np.array(problem.world)
    for tip, knuckle in ((8, 5), (12, 9), (16, 13), (20, 17)):
        points[tip, :2] = points[0, :2] + (points[0, :2] - points[knuckle, :2])
        world[tip] = 2 * world[0] - world[knuckle]
    pose = fit_hand(problem.replace(points=points, world=world)).params.hand_pose
    assert np.maximum(pose - high, low - pose).max() < 0.25


def test_a_hand_that_starts_inside_comes_out_in_part(models, fit_hand, rng):
    """The network's hand is two centimeters too deep.

    A finger that is wholly inside can stay there by up to 14 mm, because the fit compares each
    vertex with the nearest skin only.
    """
    for scene in solved_scenes.load():
        camera, intrinsics = fit_problems.random_camera(rng)
        problem, _ = touching_hand(models, scene, camera, intrinsics, (0.0, 0.0, 0.02))
        hand = fit_hand(problem)
        give = np.linalg.norm(problem.prediction.deformations, axis=-1).max()
        assert depth_inside(models, problem, hand).max() < give + 0.015


def test_a_hand_in_the_middle_of_the_head_comes_out(models, fit_hand, free_hand, rng):
    """Evidence and network agree that it is there, and no skin gives way."""
    problem, _ = free_hand(rng, center=[0.0, 0.0, 0.0], touches=jnp.array(1.0))
    hand = fit_hand(problem)
    assert depth_inside(models, problem, hand).max() < 0.01
    assert np.isfinite(hand.vertices).all()


def test_claimed_contact_closes_a_gap(models, fit_hand, rng):
    """The network's hand is a centimeter too near to the camera."""
    for scene in solved_scenes.load():
        camera, intrinsics = fit_problems.random_camera(rng)
        problem, true = touching_hand(models, scene, camera, intrinsics, (0.0, 0.0, -0.01))
        hand = fit_hand(problem)
        assert depth_inside(models, problem, hand).max() > -0.004
        assert hand.contact_presence > 0.5
        assert np.linalg.norm(hand.vertices - true, axis=-1).mean() < 0.01


def test_the_same_bits_twice(fit_hand, free_hand, rng):
    problem, _ = free_hand(rng)
    jax.tree.map(np.testing.assert_array_equal, fit_hand(problem), fit_hand(problem))
