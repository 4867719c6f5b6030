"""Heads with known parameters are found again from their projected points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import fit_problems
from support.fast_compile import compile_fast

from dice_jax.body_models.landmarks import FACE_68
from dice_jax.fitting import fit, head_fit
from dice_jax.fitting.levenberg_marquardt import Minimum
from dice_jax.structs import Camera, Intrinsics

UPPER_LIP, LOWER_LIP = 62, 66  # of the 68 landmarks: the middle of the inner lips


@pytest.fixture(scope="module")
def scene(models):
    """Function that draws a head, its camera and what a detector sees."""

    def draw(rng, **fixed):
        params = fit_problems.random_head(rng, **fixed)
        camera, intrinsics = fit_problems.random_camera(rng)
        return (
            params,
            camera,
            intrinsics,
            fit_problems.seen_face(models, params, camera, intrinsics),
        )

    return draw


def guess_near(rng, params, camera, degrees=10.0) -> fit.HeadGuess:
    """A network's answer: right but for its rotation, camera and shape."""
    start = fit_problems.random_head(rng)
    true = Rotation.from_rotvec(np.asarray(params.global_orient))
    orient = fit_problems.tilted(rng, true, degrees)
    start = start.replace(global_orient=jnp.asarray(orient, jnp.float32))
    return fit.HeadGuess(start, Camera(1.1 * camera.scale, camera.transl + 5.0))


def pixels_off(models, head, points, intrinsics):
    """Distance of each projected point of a fitted head from the detected one."""
    posed = models.face.pose(head.fitted.params)
    projected = fit_problems.project(posed, head.fitted.camera, intrinsics)
    return np.linalg.norm(projected - points[:, :2], axis=-1)


@pytest.mark.parametrize("degrees", [10.0, 40.0])
def test_exact_points_give_pixels_and_rotation(models, fit_head, scene, rng, degrees):
    for _ in range(3):
        params, camera, intrinsics, points = scene(rng)
        head = fit_head(guess_near(rng, params, camera, degrees), points, intrinsics)
        off = pixels_off(models, head, points, intrinsics)
        assert np.sqrt((off**2).mean()) < 0.3
        assert float(head.fitted.residual) == pytest.approx(np.sqrt((off**2).mean()), rel=1e-2)
        turned = fit_problems.angle_between(
            fit_problems.facing(head.fitted.params), fit_problems.facing(params)
        )
        assert turned < 3.0
        assert head.fitted.cost <= head.fitted.first_cost


def test_an_infinite_focal_length_is_scaled_orthography(models, fit_head, scene, rng):
    params, camera, _, _ = scene(rng)
    intrinsics = Intrinsics(jnp.array(jnp.inf), jnp.array([112.0, 112.0]))
    points = fit_problems.seen_face(models, params, camera, intrinsics)
    head = fit_head(guess_near(rng, params, camera), points, intrinsics)
    posed = np.asarray(models.face.pose(head.fitted.params))
    fitted = head.fitted.camera
    error = fitted.scale * posed[:, :2] + fitted.transl - points[:, :2]
    assert np.sqrt((error**2).sum(-1).mean()) < 0.3


def test_meshes_are_centered_and_posed_by_the_parameters(models, fit_head, scene, rng):
    params, camera, intrinsics, points = scene(rng)
    head = fit_head(guess_near(rng, params, camera), points, intrinsics)
    np.testing.assert_allclose(head.vertices.mean(0), 0.0, atol=1e-6)
    posed = fit_problems.pose_head(models.head_model, head.fitted.params)
    np.testing.assert_allclose(head.vertices, posed.vertices, atol=2e-6)
    np.testing.assert_allclose(head.landmarks, posed.keypoints, atol=2e-6)


def test_a_third_of_the_points_may_be_wrong(models, fit_head, scene, rng):
    params, camera, intrinsics, points = scene(rng)
    wrong = rng.random(468) < 0.3
    moved = points.copy()
    direction = rng.normal(size=(468, 2))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    moved[wrong, :2] += 30.0 * direction[wrong]
    head = fit_head(guess_near(rng, params, camera), moved, intrinsics)
    off = pixels_off(models, head, points, intrinsics)
    assert np.sqrt((off**2).mean()) < 1.5


def test_points_of_no_confidence_do_not_matter(fit_head, scene, rng):
    """Wherever they are, and if they are no numbers."""
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    hidden = rng.random(468) < 0.4
    points[hidden, 3] = 0.0
    expected = fit_head(guess, points, intrinsics)
    for value in (1e4, np.nan):
        changed = points.copy()
        changed[hidden, :3] = value
        found = fit_head(guess, changed, intrinsics)
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-5)
        np.testing.assert_allclose(found.fitted.residual, expected.fitted.residual, rtol=1e-3)


def test_confident_points_that_are_no_numbers_are_not_followed(fit_head, scene, rng):
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    bad = rng.random(468) < 0.2
    for column in (slice(0, 3), slice(0, 4)):
        changed = points.copy()
        changed[bad, column] = np.nan
        head = fit_head(guess, changed, intrinsics)
        assert np.isfinite(head.vertices).all()
        turned = fit_problems.angle_between(
            fit_problems.facing(head.fitted.params), fit_problems.facing(params)
        )
        assert turned < 3.0


@pytest.mark.parametrize("coordinate", [0.0, np.nan])
def test_without_any_point_the_network_is_kept(fit_head, scene, rng, coordinate):
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    points[:] = [coordinate] * 3 + [0.0]
    head = fit_head(guess, points, intrinsics)
    jax.tree.map(np.testing.assert_array_equal, head.fitted.camera, guess.camera)
    for name in ("betas", "expression", "global_orient", "neck_pose", "jaw_pose"):
        found, expected = getattr(head.fitted.params, name), getattr(guess.params, name)
        np.testing.assert_array_equal(found, expected)


def test_a_face_unlike_any_head_gives_a_moderate_shape(fit_head, scene, rng):
    """Stretched by half across: the coefficients stay in the range of people."""
    params, camera, intrinsics, points = scene(rng)
    center = points[:, :2].mean(0)
    points[:, :2] = center + (points[:, :2] - center) * [1.5, 1.0]
    head = fit_head(guess_near(rng, params, camera), points, intrinsics)
    assert np.isfinite(head.vertices).all()
    for name in ("betas", "expression"):
        assert np.abs(getattr(head.fitted.params, name)).max() < 2.3


def test_a_wide_open_mouth_is_found(models, fit_head, scene, rng):
    zero = jnp.zeros(50)
    params, camera, intrinsics, points = scene(rng, jaw_pose=[0.35, 0.0, 0.0], expression=zero)
    guess = guess_near(rng, params, camera)
    guess = guess.replace(params=guess.params.replace(jaw_pose=jnp.zeros(3)))
    head = fit_head(guess, points, intrinsics)
    true = fit_problems.pose_head(models.head_model, params).keypoints
    opened = lambda x: float(np.linalg.norm(x[UPPER_LIP] - x[LOWER_LIP]))
    assert opened(head.landmarks) == pytest.approx(opened(true), rel=0.2)
    assert head.fitted.params.jaw_pose[0] > 0.2


def test_the_jaw_does_not_shut_further_than_closed(fit_head, scene, rng):
    """Even if the points of the lower face say so."""
    params, camera, intrinsics, points = scene(rng, jaw_pose=[0.0, 0.0, 0.0])
    points[points[:, 1] > np.quantile(points[:, 1], 0.7), 1] -= 15.0
    head = fit_head(guess_near(rng, params, camera), points, intrinsics)
    assert head.fitted.params.jaw_pose[0] > -0.06


def test_wrong_landmarks_are_less_certain(fit_head, scene, rng):
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    exact = fit_head(guess, points, intrinsics).fitted.sigma
    nose = FACE_68.index(4)
    points[4, :2] += 20.0
    moved = fit_head(guess, points, intrinsics).fitted.sigma
    assert np.isfinite(exact).all() and (exact > 0).all()
    assert moved[nose] > 5.0 + exact[nose]
    assert np.argmax(moved) == nose


def test_the_rigid_start_is_exact_for_a_neutral_head(models, rng):
    """Under scaled orthography; a pinhole far aside sees a turned face."""
    zeros = dict(betas=np.zeros(100), expression=np.zeros(50), jaw_pose=np.zeros(3))
    start = jax.jit(head_fit.rigid_start)
    for focal, degrees, pixels in ((np.inf, 0.05, 0.05), (900.0, 15.0, 3.0)):
        params = fit_problems.random_head(rng, tilt=40.0, neck_pose=np.zeros(3), **zeros)
        camera, intrinsics = fit_problems.random_camera(rng)
        intrinsics = intrinsics.replace(focal_length=jnp.array(focal, jnp.float32))
        points = fit_problems.seen_face(models, params, camera, intrinsics)
        found, found_camera = start(models.face, points, fit_problems.random_head(rng), intrinsics)
        turned = fit_problems.angle_between(found.global_orient, params.global_orient)
        assert turned < degrees
        projected = fit_problems.project(models.face.pose(found), found_camera, intrinsics)
        assert np.linalg.norm(projected - points[:, :2], axis=-1).mean() < pixels


def test_the_jacobian_of_the_residuals_equals_finite_differences(models, scene, rng, monkeypatch):
    """In double precision, along a random direction, near the start of the optimization."""
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    arguments = (models.face, points, guess.params, guess.camera, intrinsics)

    def evaluate(step, arguments):
        """Residuals at `step` along the direction, and their derivative by it."""
        seen = {}

        def instead(residuals, start, steps):
            flat, unravel = jax.flatten_util.ravel_pytree(start)
            offset, direction = np.random.default_rng(1).normal(size=(2, *flat.shape))
            along = lambda step: residuals(unravel(flat + 0.05 * offset + step * direction))
            seen["values"] = jax.jvp(along, (step,), (jnp.ones_like(step),))
            return Minimum(start, step, step)

        monkeypatch.setattr(head_fit, "minimize", instead)
        head_fit.fit_head(*arguments)
        return seen["values"]

    with jax.enable_x64(True):
        double = lambda x: jnp.asarray(x, jnp.float64)
        is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
        arguments = jax.tree.map(lambda x: double(x) if is_float(x) else x, arguments)
        compiled = compile_fast(evaluate, double(0.0), arguments)
        _, derivative = compiled(double(0.0), arguments)
        after, before = (compiled(double(step), arguments)[0] for step in (1e-6, -1e-6))
        np.testing.assert_allclose(derivative, (after - before) / 2e-6, rtol=1e-5, atol=1e-5)
        assert np.abs(derivative).max() > 1.0


def test_the_same_bits_twice(fit_head, scene, rng):
    params, camera, intrinsics, points = scene(rng)
    guess = guess_near(rng, params, camera)
    twice = [fit_head(guess, points, intrinsics) for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *twice)
