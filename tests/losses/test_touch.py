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
collision_loss = jax.jit(touch.collision_loss)
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
def test_touch_is_the_chamfer_distance_of_the_probable_vertices(clouds, squared):
    hand, head, hand_probs, head_probs = map(np.asarray, clouds)
    expected = [
        chamfer(head[i][head_probs[i] > 0.5], hand[i][hand_probs[i] > 0.5], 2 if squared else 1)
        for i in range(2)
    ]
    np.testing.assert_allclose(touch_loss(*clouds, squared=squared), expected, rtol=1e-4)


@pytest.mark.parametrize("empty", ["hand", "head", "both"])
def test_an_empty_region_costs_nothing_and_teaches_nothing(clouds, empty):
    hand, head, hand_probs, head_probs = clouds
    hand_probs = hand_probs.at[0].set(0.1) if empty != "head" else hand_probs
    head_probs = head_probs.at[0].set(0.1) if empty != "hand" else head_probs
    value = touch_loss(hand, head, hand_probs, head_probs)
    assert value[0] == 0 and value[1] > 0
    for gradient in touch_gradients(hand, head, hand_probs, head_probs)[:2]:
        np.testing.assert_array_equal(gradient[0], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient[1]).max() > 0


def test_touch_moves_vertices_and_never_probabilities(clouds):
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


def test_coinciding_regions_cost_nothing(clouds):
    hand, _, hand_probs, _ = clouds
    value, gradient = jax.value_and_grad(
        lambda v: touch_loss(v, hand, hand_probs, hand_probs).sum()
    )(hand)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.fixture
def sphere():
    return trimesh.creation.icosphere(3, 0.1)


def collide(hand, sphere, can_be_touched=None, function=collision_loss):
    """The loss, or whatever `function`, of some points (B, N, 3); N is filled up to 60 with points
    far outside.
    """
    hand = np.pad(
        np.asarray(hand, np.float32), ((0, 0), (0, 60 - hand.shape[1]), (0, 0)), constant_values=9.0
    )
    head = np.broadcast_to(
        np.asarray(sphere.vertices, np.float32), (len(hand), *sphere.vertices.shape)
    )
    can_be_touched = (
        np.ones(len(sphere.vertices), bool) if can_be_touched is None else can_be_touched
    )
    return function(hand, head, sphere.faces, can_be_touched)


def test_collision_counts_the_vertices_inside_and_no_others(rng, sphere):
    """Trap 3: the released code indexes with a float mask, and so takes hand vertices 0 and 1 over
    and over.
    """
    hand = rng.normal(scale=0.08, size=(3, 60, 3))
    hand[:, :2] += 1.0  # vertices 0 and 1 are far outside
    within = sphere.contains(hand.reshape(-1, 3)).reshape(3, 60)
    distances = cKDTree(sphere.vertices).query(hand)[0]
    expected = [d[w].mean() for d, w in zip(distances, within)]
    np.testing.assert_allclose(collide(hand, sphere), expected, rtol=1e-4)
    gradient, _ = collide(hand, sphere, function=collision_gradients)
    np.testing.assert_array_equal(np.abs(gradient).sum(-1) > 0, within)
    np.testing.assert_allclose(
        np.linalg.norm(gradient, axis=-1)[within],
        (1 / within.sum(1)).repeat(within.sum(1)),
        rtol=1e-4,
    )


def test_a_gradient_step_drives_the_hand_out(sphere):
    hand = np.tile(sphere.vertices[:5] * 0.9, (3, 1, 1))
    gradient, _ = collide(hand, sphere, function=collision_gradients)
    assert ((-gradient[:, :5] * hand).sum(-1) > 0).all()


def test_the_head_is_pushed_away_too(sphere):
    hand = np.tile(sphere.vertices[:1] * 0.9, (3, 1, 1))
    _, gradient = collide(hand, sphere, function=collision_gradients)
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient[0]).sum(-1)), [0])
    assert (gradient[0, 0] * hand[0, 0]).sum() > 0  # inwards, as a step goes against the gradient


def test_no_collision_is_zero_without_gradient(rng, sphere):
    hand = rng.normal(size=(3, 30, 3))
    hand /= np.linalg.norm(hand, axis=-1, keepdims=True) * 5
    np.testing.assert_array_equal(collide(hand, sphere), 0)
    for gradient in collide(hand, sphere, function=collision_gradients):
        np.testing.assert_array_equal(gradient, 0)


def test_cavities_are_no_surface_to_escape_to(sphere):
    """A vertex right under a cavity's skin is measured against the nearest vertex that is not of
    the cavity.
    """
    hand = np.tile(sphere.vertices[:1] * 0.95, (3, 1, 1))
    can_be_touched = np.ones(len(sphere.vertices), bool)
    can_be_touched[0] = False
    expected = np.sort(np.linalg.norm(sphere.vertices - hand[0], axis=-1))[1]
    np.testing.assert_allclose(collide(hand, sphere, can_be_touched), expected, rtol=1e-4)
