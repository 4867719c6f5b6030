"""Touch and collision against SciPy and trimesh, and where their gradients go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads
from scipy.spatial import cKDTree

from dice_jax.losses import touch

touch_loss = jax.jit(touch.touch_loss, static_argnames="squared")
touch_gradients = jax.jit(jax.grad(lambda *clouds: touch.touch_loss(*clouds).sum(), (0, 1, 2, 3)))
collision_loss = jax.jit(touch.collision_loss, static_argnames=("over_colliding", "squared"))
paper_collision_loss = functools.partial(collision_loss, over_colliding=True)
collision_gradients = jax.jit(jax.grad(lambda *scene: touch.collision_loss(*scene).sum(), (0, 1)))


@pytest.fixture
def clouds(rng):
    hand, head = rng.normal(size=(2, 40, 3)), rng.normal(size=(2, 90, 3))
    hand_probs, head_probs = rng.uniform(size=(2, 40)), rng.uniform(size=(2, 90))
    return tuple(jnp.asarray(array, jnp.float32) for array in (hand, head, hand_probs, head_probs))


def chamfer(a, b, power):
    mean = lambda query, points: (cKDTree(points).query(query)[0] ** power).mean()
    return mean(a, b) + mean(b, a)


@pytest.mark.parametrize("squared", [False, True])
def test_touch_is_the_chamfer_distance_of_the_predicted_contact_regions(clouds, squared):
    hand, head, hand_probs, head_probs = map(np.asarray, clouds)
    power = 2 if squared else 1
    regions = zip(head, head_probs, hand, hand_probs)
    expected = [chamfer(a[p > 0.5], b[q > 0.5], power) for a, p, b, q in regions]
    np.testing.assert_allclose(touch_loss(*clouds, squared=squared), expected, rtol=1e-4)


@pytest.mark.parametrize("empty", ["hand", "head", "both"])
def test_an_empty_region_has_neither_loss_nor_gradient(clouds, empty):
    hand, head, hand_probs, head_probs = clouds
    hand_probs = hand_probs.at[0].set(0.1) if empty != "head" else hand_probs
    head_probs = head_probs.at[0].set(0.1) if empty != "hand" else head_probs
    value = touch_loss(hand, head, hand_probs, head_probs)
    assert value[0] == 0 and value[1] > 0
    for gradient in touch_gradients(hand, head, hand_probs, head_probs)[:2]:
        np.testing.assert_array_equal(gradient[0], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient[1]).max() > 0


def test_touch_has_gradients_in_touching_vertices_and_none_in_probabilities(clouds):
    _, _, hand_probs, head_probs = clouds
    gradients = touch_gradients(*clouds)
    assert np.abs(gradients[0]).max() > 0 and np.abs(gradients[1]).max() > 0
    np.testing.assert_array_equal(gradients[2], 0)
    np.testing.assert_array_equal(gradients[3], 0)
    np.testing.assert_array_equal(gradients[0][hand_probs <= 0.5], 0)
    np.testing.assert_array_equal(gradients[1][head_probs <= 0.5], 0)


def test_touch_gradient_equals_finite_differences(clouds):
    hand, head, hand_probs, head_probs = clouds
    loss = lambda hand, head: touch_loss(hand, head, hand_probs, head_probs).sum()
    check_grads(loss, (hand, head), 1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-3)


def test_coinciding_regions_have_neither_loss_nor_gradient(clouds):
    hand, _, hand_probs, _ = clouds
    loss = lambda v: touch_loss(v, hand, hand_probs, hand_probs).sum()
    value, gradient = jax.value_and_grad(loss)(hand)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.fixture
def sphere():
    return trimesh.creation.icosphere(3, 0.1)


def collide(hand, sphere, can_be_touched=None, function=collision_loss):
    """`function` of points (B, N, 3), padded to N = 60 with points far outside the sphere."""
    padding = ((0, 0), (0, 60 - hand.shape[1]), (0, 0))
    hand = np.pad(np.asarray(hand, np.float32), padding, constant_values=9.0)
    head = np.stack([np.asarray(sphere.vertices, np.float32)] * len(hand))
    if can_be_touched is None:
        can_be_touched = np.ones(len(sphere.vertices), bool)
    return function(hand, head, sphere.faces, can_be_touched)


def test_collision_is_over_the_vertices_inside_and_no_others(rng, sphere):
    """The released code indexes with a float mask, and so only ever uses hand vertices 0 and 1."""
    hand = rng.normal(scale=0.08, size=(3, 60, 3))
    hand[:, :2] += 1.0  # vertices 0 and 1 are far outside
    within = sphere.contains(hand.reshape(-1, 3)).reshape(3, 60)
    distances = cKDTree(sphere.vertices).query(hand)[0]
    count = len(sphere.vertices)
    expected = [(d[w].mean(), d[w].sum() / count) for d, w in zip(distances, within)]
    values = [collide(hand, sphere, function=f) for f in (paper_collision_loss, collision_loss)]
    np.testing.assert_allclose(np.transpose(values), expected, rtol=1e-4)
    released = collide(hand, sphere, function=functools.partial(collision_loss, squared=True))
    squares = [(d[w] ** 2).sum() / count for d, w in zip(distances, within)]
    np.testing.assert_allclose(released, squares, rtol=1e-4)
    gradient, _ = collide(hand, sphere, function=collision_gradients)
    np.testing.assert_array_equal(np.abs(gradient).sum(-1) > 0, within)
    lengths = np.linalg.norm(gradient, axis=-1)[within]
    np.testing.assert_allclose(lengths, 1 / count, rtol=1e-4)


def test_a_vertex_that_leaves_the_head_does_not_raise_the_loss(sphere):
    """The paper's mean rises, since the shallow vertex no longer lowers it."""
    deep, shallow = 0.7 * sphere.vertices[:4], 0.999 * sphere.vertices[4:5]
    inside, left = (
        np.tile(np.concatenate([deep, part]), (3, 1, 1)) for part in (shallow, 1.1 * shallow)
    )
    assert (collide(left, sphere) < collide(inside, sphere)).all()
    np.testing.assert_allclose(collide(left, sphere), collide(inside, sphere), rtol=0.02)
    paper = [collide(hand, sphere, function=paper_collision_loss) for hand in (inside, left)]
    assert (paper[1] > 1.2 * paper[0]).all()


def test_a_gradient_step_moves_the_hand_out(sphere):
    hand = np.tile(sphere.vertices[:5] * 0.9, (3, 1, 1))
    gradient, _ = collide(hand, sphere, function=collision_gradients)
    assert ((-gradient[:, :5] * hand).sum(-1) > 0).all()


def test_a_gradient_step_moves_the_head_inwards(sphere):
    hand = np.tile(sphere.vertices[:1] * 0.9, (3, 1, 1))
    _, gradient = collide(hand, sphere, function=collision_gradients)
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient[0]).sum(-1)), [0])
    assert (-gradient[0, 0] * hand[0, 0]).sum() < 0


def test_hands_outside_the_head_have_neither_loss_nor_gradient(rng, sphere):
    hand = rng.normal(size=(3, 30, 3))
    hand /= np.linalg.norm(hand, axis=-1, keepdims=True) * 5
    np.testing.assert_array_equal(collide(hand, sphere), 0)
    for gradient in collide(hand, sphere, function=collision_gradients):
        np.testing.assert_array_equal(gradient, 0)


def test_vertices_that_cannot_be_touched_do_not_count_as_surface(sphere):
    """The hand vertex lies just below such a vertex, so its second nearest one counts."""
    hand = np.tile(sphere.vertices[:1] * 0.95, (3, 1, 1))
    can_be_touched = np.ones(len(sphere.vertices), bool)
    can_be_touched[0] = False
    expected = np.sort(np.linalg.norm(sphere.vertices - hand[0], axis=-1))[1]
    value = collide(hand, sphere, can_be_touched, paper_collision_loss)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
