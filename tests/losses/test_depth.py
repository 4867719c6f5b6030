"""Depth: both formulas against NumPy and their minima; samples against planes and ray casting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads

from dice_jax.losses import depth
from dice_jax.structs import Camera


@pytest.fixture
def depths(rng):
    """Rendered depths near 1 m, pseudo depths in another unit, and a mask, of 12 keypoints each."""
    pred, target = 1 + 0.1 * rng.normal(size=(4, 12)), rng.uniform(0.2, 3, size=(4, 12))
    visible = rng.uniform(size=(4, 12)) < 0.7
    return jnp.asarray(pred, jnp.float32), jnp.asarray(target, jnp.float32), jnp.asarray(visible)


def test_silog_is_the_standard_deviation_of_the_log_ratio(depths):
    pred, target, visible = map(np.asarray, depths)
    expected = [
        np.std(np.log(p[v]) - np.log(t[v]), ddof=1) for p, t, v in zip(pred, target, visible)
    ]
    np.testing.assert_allclose(depth.silog(*depths), expected, rtol=1e-4)


def test_silog_is_per_image_and_invariant_to_scale(depths):
    """The reference takes one variance over the batch, so scales that differ have a loss."""
    pred, target, visible = depths
    scaled = target * jnp.array([1.0, 10.0, 0.1, 3.0])[:, None]
    np.testing.assert_allclose(depth.silog(pred, scaled, visible), depth.silog(*depths), rtol=1e-4)
    alone = jnp.concatenate([depth.silog(*(x[i : i + 1] for x in depths)) for i in range(4)])
    np.testing.assert_array_equal(depth.silog(*depths), alone)


@pytest.mark.parametrize("formula", depth.FORMULAS.values())
def test_keypoints_that_are_not_visible_never_matter(depths, formula):
    pred, target, visible = depths
    for placeholder in (0.0, -1.0, np.nan, np.inf):
        spoiled = [jnp.where(visible, values, placeholder) for values in (pred, target)]
        loss = lambda p, t: formula(p, t, visible).sum()
        value, gradient = jax.value_and_grad(loss)(*spoiled)
        np.testing.assert_allclose(value, formula(*depths).sum(), rtol=1e-6)
        np.testing.assert_array_equal(gradient[~visible], 0)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("formula", "count"),
    [*((depth.silog, n) for n in (0, 1)), *((depth.affine_invariant, n) for n in (0, 1, 2))],
)
def test_too_few_keypoints_say_nothing(depths, formula, count):
    """Any two depths agree at one keypoint up to a scale, and at two up to a scale and a shift."""
    pred, target, _ = depths
    visible = jnp.broadcast_to(jnp.arange(12) < count, pred.shape)
    value, gradient = jax.value_and_grad(lambda p: formula(p, target, visible).sum())(pred)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_silog_gradient_is_right_and_finite_at_the_optimum(depths):
    """The gradient of a plain square root is infinite where prediction and target agree."""
    pred, target, visible = depths
    loss = lambda p, t: depth.silog(p, t, visible).sum()
    tolerances = dict(modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-3)
    check_grads(lambda p: loss(p, target), (pred,), 1, **tolerances)
    assert np.isfinite(jax.grad(loss)(pred, 2 * pred)).all()
    gradient = jax.grad(loss)(jnp.ones_like(pred), jnp.ones_like(pred))
    np.testing.assert_array_equal(gradient, 0)


def affine_invariant(pred, target, visible=None):
    visible = jnp.ones(np.shape(pred), bool) if visible is None else visible
    as_array = lambda values: jnp.asarray(values, jnp.float32)
    return np.asarray(depth.affine_invariant(as_array(pred), as_array(target), visible))


def flattened(pred, relief):
    """Rendered depth with its differences from its mean multiplied by `relief`."""
    mean = np.mean(pred, -1, keepdims=True)
    return mean + relief * (np.asarray(pred) - mean)


def test_affine_invariant_is_a_function_of_the_correlation(depths):
    correlations = [np.corrcoef(p[v], t[v])[0, 1] for p, t, v in zip(*map(np.asarray, depths))]
    expected = depth.RELIEF * np.sqrt(1 - np.array(correlations))
    np.testing.assert_allclose(affine_invariant(*depths), expected, rtol=1e-4)


AFFINE = [(1.0, 0.0), (3.0, -2.5), (0.01, 7.0), (200.0, 40.0), (0.4, -0.4)]


@pytest.mark.parametrize(("scale", "shift"), AFFINE)
def test_the_minimum_is_the_truth_for_any_positive_scale_and_shift(depths, rng, scale, shift):
    """The paper's formula has a loss there, unless the shift is 0."""
    truth, _, visible = depths
    pseudo = scale * truth + shift
    np.testing.assert_allclose(affine_invariant(truth, pseudo, visible), 0, atol=1e-4)
    for size in (1e-3, 1e-2, 0.1):
        wrong = truth + size * rng.normal(size=truth.shape)
        assert affine_invariant(wrong, pseudo, visible).min() > 0.02 * size


def test_descent_ends_at_the_truth(rng):
    truth = 1 + 0.04 * rng.normal(size=(1, 89))
    pred = jnp.asarray(truth + 0.02 * rng.normal(size=truth.shape), jnp.float32)
    pseudo = jnp.asarray((truth - 0.9) / 0.3, jnp.float32)  # as Marigold: about 0 to 1
    visible = jnp.ones(pred.shape, bool)
    gradient = jax.jit(jax.grad(lambda p: depth.affine_invariant(p, pseudo, visible).sum()))
    first = affine_invariant(pred, pseudo)
    for step in range(300):
        pred = pred - 0.05 * 0.98**step * gradient(pred)
    assert affine_invariant(pred, pseudo) < 0.05 * first
    slope, shift = np.polyfit(truth[0], pred[0], 1)
    np.testing.assert_allclose(pred[0], slope * truth[0] + shift, atol=2e-3)
    # The relief that the render had is kept.
    assert 0.8 < slope < 1.2


def test_a_flatter_render_is_no_better(rng):
    """A pseudo depth that is aligned to the render by least squares prefers a flat head."""
    truth = 1 + 0.04 * rng.normal(size=(20, 30))
    pseudo = 2 + 3 * truth
    wrong = truth + 0.03 * rng.normal(size=truth.shape)
    values = [affine_invariant(flattened(wrong, relief), pseudo) for relief in RELIEFS]
    assert values[0].min() > 0.1 * depth.RELIEF
    for flatter, steeper in zip(values[1:], values):
        assert (flatter >= steeper * (1 - 1e-3)).all()
    np.testing.assert_allclose(values[-1], depth.RELIEF, rtol=1e-4)  # flat: no correlation
    silog = lambda pred: depth.silog(
        jnp.asarray(pred, jnp.float32),
        jnp.asarray(truth, jnp.float32),
        jnp.ones(truth.shape, bool),
    )
    assert silog(flattened(truth, 0.5)).min() > 0  # without a shift the paper's formula knows it


RELIEFS = (2.0, 1.0, 0.5, 0.1, 0.02, 0.01, 0.001, 0.0)


def test_flattening_an_inverted_render_does_not_help_as_long_as_it_has_a_relief(rng):
    truth = 1 + 0.04 * rng.normal(size=(20, 30))
    inverted = 2 - truth
    values = [affine_invariant(flattened(inverted, relief), truth) for relief in RELIEFS[:4]]
    np.testing.assert_allclose(values, depth.RELIEF * np.sqrt(2), rtol=1e-3)


def test_the_paper_s_formula_prefers_another_relief_for_shifted_depth(rng):
    """What the module says about it: the truth is not its minimum."""
    truth = np.linspace(0.95, 1.05, 40)[None]
    pseudo = (truth - 0.9) / 0.2
    visible = jnp.ones(truth.shape, bool)
    silog = lambda relief: float(
        depth.silog(
            jnp.asarray(flattened(truth, relief), jnp.float32),
            jnp.asarray(pseudo, jnp.float32),
            visible,
        )[0]
    )
    assert silog(4.0) < 0.7 * silog(1.0)


@pytest.mark.parametrize("constant", ["pred", "target", "both"])
def test_a_constant_depth_has_a_finite_gradient(depths, constant):
    pred, target, visible = depths
    pred = jnp.full_like(pred, 1.03) if constant != "target" else pred
    target = jnp.full_like(target, 0.3) if constant != "pred" else target
    loss = lambda p: depth.affine_invariant(p, target, visible).sum()
    value, gradient = jax.value_and_grad(loss)(pred)
    np.testing.assert_allclose(value, 4 * depth.RELIEF, rtol=1e-2)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < depth.RELIEF / depth.FLAT


@pytest.fixture
def scene():
    """A ball (the hand) in front of a slanted plane (the head), meters, and a camera."""
    ball = trimesh.creation.icosphere(3, 0.02)
    ball.apply_translation([0.03, -0.02, -0.1])
    plane = trimesh.Trimesh(
        [[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]], [[0, 1, 2], [0, 2, 3]]
    )
    plane.vertices[:, 2] = 0.5 * plane.vertices[:, 0] - 0.2 * plane.vertices[:, 1]
    camera = Camera(scale=jnp.array([1000.0]), transl=jnp.array([[110.3, 114.8]]))
    batch = lambda x: jnp.asarray(np.asarray(x)[None], jnp.float32)
    return {
        "hand_vertices": batch(ball.vertices),
        "head_vertices": batch(plane.vertices),
        "hand_faces": jnp.asarray(ball.faces),
        "head_faces": jnp.asarray(plane.faces),
        "camera": camera,
    }


compiled = jax.jit(depth.render_keypoint_depth, static_argnames="occlusion_aware")


def render(scene, keypoints, **options):
    """Depth and visibility of keypoints (K, 3); repeated up to 50 of them, to compile once."""
    filled = np.resize(np.asarray(keypoints, np.float32), (1, 50, 3))
    return tuple(
        values[0, : len(keypoints)] for values in compiled(**scene, keypoints_3d=filled, **options)
    )


def test_depth_is_sampled_at_the_pixel_of_the_keypoint(scene, rng):
    """The reference swaps x and y here. The slope of the plane tells rows from columns."""
    keypoints = np.concatenate([rng.uniform(-0.095, 0.095, (50, 2)), np.zeros((50, 1))], -1)
    away = np.linalg.norm(keypoints[:, :2] - [0.03, -0.02], axis=-1) > 0.025
    keypoints = keypoints[away]
    read, visible = render(scene, keypoints)
    pixels = np.floor(keypoints[:, :2] * 1000 + [110.3, 114.8]) + 0.5
    x, y = ((pixels - [110.3, 114.8]) / 1000).T
    assert visible.all()
    np.testing.assert_allclose(read, 1 + 0.5 * x - 0.2 * y, atol=1e-5)


def test_depth_equals_ray_casting(scene):
    meshes = [
        trimesh.Trimesh(scene[f"{part}_vertices"][0], scene[f"{part}_faces"], process=False)
        for part in ("hand", "head")
    ]
    both = trimesh.util.concatenate(meshes)
    keypoints = np.array([[0.03, -0.02, 0], [0.04, -0.03, 0], [0.02, -0.02, 0], [-0.05, 0.06, 0]])
    read, _ = render(scene, keypoints)
    pixels = np.floor(keypoints[:, :2] * 1000 + [110.3, 114.8]) + 0.5
    origins = np.concatenate([(pixels - [110.3, 114.8]) / 1000, np.full((4, 1), -1.0)], -1)
    hits, rays, _ = both.ray.intersects_location(
        origins, np.tile([0, 0, 1.0], (4, 1)), multiple_hits=False
    )
    np.testing.assert_allclose(read[rays], hits[:, 2] + 1, atol=1e-4)


def test_keypoints_on_the_background_or_outside_the_image_are_not_visible(scene):
    keypoints = [[0.0, 0.0, 0], [0.109, 0.0, 0], [0.5, 0.0, 0], [0.0, -0.5, 0], [-0.2, 0.1, 0]]
    read, visible = render(scene, keypoints)
    np.testing.assert_array_equal(visible, [True, False, False, False, False])
    assert np.isfinite(read).all()


def test_occluded_keypoints_are_left_out_only_if_occlusion_aware(scene):
    behind_the_ball, on_the_ball = [0.03, -0.02, 0.02], [0.03, -0.02, -0.11]
    _, visible = render(scene, [behind_the_ball, on_the_ball])
    np.testing.assert_array_equal(visible, [True, True])
    _, visible = render(scene, [behind_the_ball, on_the_ball], occlusion_aware=True)
    np.testing.assert_array_equal(visible, [False, True])


def test_rendered_depth_is_differentiable_in_vertices_and_camera(scene):
    keypoints = jnp.array([[[0.031, -0.0204, 0], [-0.0502, 0.0611, 0], [0.0603, 0.0508, 0]]])
    scene = dict(scene)
    hand, head, camera = scene.pop("hand_vertices"), scene.pop("head_vertices"), scene.pop("camera")

    @jax.jit
    def loss(hand, head, transl):
        moved = camera.replace(transl=transl)
        read, _ = depth.render_keypoint_depth(
            hand, head, camera=moved, keypoints_3d=keypoints, **scene
        )
        return (read * jnp.array([[1.0, 2.0, -3.0]])).sum()

    gradients = jax.jit(jax.grad(loss, (0, 1, 2)))(hand, head, camera.transl)
    for k, values in enumerate((hand, head, camera.transl)):
        direction = np.random.default_rng(k).normal(size=values.shape).astype(np.float32)
        eps = 1e-2 if k == 2 else 1e-5  # pixels, meters: small enough to stay on the same faces
        arguments = lambda sign, k=k, d=direction, e=eps: [
            v + sign * e * d if j == k else v for j, v in enumerate((hand, head, camera.transl))
        ]
        numeric = (loss(*arguments(1)) - loss(*arguments(-1))) / (2 * eps)
        np.testing.assert_allclose((gradients[k] * direction).sum(), numeric, rtol=0.05, atol=2e-3)
