"""Contact and deformation read off posed meshes, against exact signed distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation
from support import fit_problems

from dice_jax.fitting import contact


@pytest.fixture(scope="module")
def skin_contact(models):
    """`contact.skin_contact` of a hand and a head.

    Not compiled without optimization: jaxlib 0.10 then confuses rows of what `top_k` chose.
    """
    compiled = jax.jit(contact.skin_contact)

    def call(hand, head, touches=1.0):
        hand, head, touches = (jnp.asarray(x, jnp.float32) for x in (hand, head, touches))
        found = compiled(hand, head, models.hand_model, models.head_model, touches)
        return jax.tree.map(np.asarray, found)

    return call


@pytest.fixture(scope="module")
def head(models):
    """Vertices of a head that faces the camera."""
    params = fit_problems.random_head(np.random.default_rng(3), tilt=0.0)
    return np.asarray(fit_problems.pose_head(models.head_model, params).vertices)


@pytest.fixture(scope="module")
def pushed(models, head):
    """Function that gives a hand whose finger tips are some meters inside the forehead.

    It points against the normal of the head's outermost skin in one direction, so that nothing else
    of the hand touches.
    """
    normal = np.array([-0.5, -0.5, -0.7]) / np.linalg.norm([0.5, 0.5, 0.7])
    touched = head[(head @ normal).argmax()]
    params = fit_problems.random_hand(np.random.default_rng(4), tilt=0.0)
    posed = fit_problems.pose_hand(models.hand_model, params)
    keypoints = np.asarray(posed.keypoints)
    turn, _ = Rotation.align_vectors([-normal], [keypoints[12] - keypoints[0]])
    hand = np.asarray(posed.vertices) @ turn.as_matrix().T
    tip = hand[(hand @ normal).argmin()]
    return lambda depth: np.float32(hand - tip + touched - depth * normal)


def distance_to_hand(models, hand, points):
    """Meters, positive inside: an independent implementation."""
    mesh = trimesh.Trimesh(hand, np.asarray(models.hand_model.closed_faces), process=False)
    return trimesh.proximity.signed_distance(mesh, points)


def test_a_hand_far_away_changes_nothing(skin_contact, head, pushed):
    found = skin_contact(pushed(0.0) + np.float32([0.0, 0.0, -0.3]), head)
    assert np.abs(found.deformations).max() == 0.0
    assert found.head_probs.max() < 1e-6 and found.hand_probs.max() < 1e-6
    assert found.gap > 0.1


def test_a_hand_that_does_not_touch_changes_nothing(skin_contact, head, pushed):
    """Where the network is sure of it, wherever the meshes are."""
    found = skin_contact(pushed(0.003), head, touches=0.0)
    assert np.abs(found.deformations).max() == 0.0
    assert found.head_probs.max() == 0.0 and found.hand_probs.max() == 0.0


@pytest.mark.parametrize("depth", [0.003, 0.01])
def test_the_skin_gives_way_to_the_hand(models, skin_contact, head, pushed, depth):
    hand = pushed(depth)
    skin = ~np.asarray(models.head_model.cavity)
    before = distance_to_hand(models, hand, head[skin])
    assert before.max() > 0.3 * depth
    found = skin_contact(hand, head)
    after = distance_to_hand(models, hand, (head - found.deformations)[skin])
    assert after.max() < 1e-4
    size = np.linalg.norm(found.deformations, axis=-1)
    assert 0.3 * depth < size.max() <= 0.025
    assert (size[~skin] == 0.0).all()
    assert found.gap == pytest.approx(-before.max(), abs=1e-3)


def test_deformations_fall_off_around_the_contact(skin_contact, head, pushed):
    found = skin_contact(pushed(0.006), head)
    size = np.linalg.norm(found.deformations, axis=-1)
    deepest = size.argmax()
    apart = np.linalg.norm(head - head[deepest], axis=-1)
    assert size[apart > 0.05].max() < 1e-4
    rings = [size[(low <= apart) & (apart < low + 0.006)].mean() for low in (0, 0.01, 0.02, 0.03)]
    assert (np.diff(rings) < 0).all()


@pytest.mark.parametrize("depth", [-0.003, 0.003])
def test_contact_is_where_the_surfaces_are_near(models, skin_contact, head, pushed, depth):
    hand = pushed(depth)
    found = skin_contact(hand, head)
    skin = ~np.asarray(models.head_model.cavity)
    deformed = head - found.deformations
    near_head = np.abs(distance_to_hand(models, hand, deformed))
    surface = np.asarray(models.head_model.faces)
    surface = surface[skin[surface].all(-1)]
    deformed_mesh = trimesh.Trimesh(deformed, surface, process=False)
    _, near_hand, _ = trimesh.proximity.closest_point(deformed_mesh, hand)
    assert (near_head[skin] < 0.004).any()
    assert (found.head_probs[skin & (near_head < 0.0035)] > 0.5).all()
    # A gap between surfaces that touch is not counted.
    far = 0.008 + max(float(found.gap), 0.0)
    assert (found.head_probs[near_head > far] < 0.05).all()
    # Distances of the fine hand are interpolated between its coarse vertices.
    assert found.hand_probs[near_hand.argmin()] > 0.5
    assert (found.hand_probs[near_hand > 0.015] < 0.05).all()
    assert (found.hand_probs > 0.5).any()


def test_probabilities_are_at_most_that_of_touching(skin_contact, head, pushed):
    sure, unsure = (skin_contact(pushed(0.002), head, touches) for touches in (1.0, 0.6))
    np.testing.assert_allclose(unsure.head_probs, 0.6 * sure.head_probs, atol=1e-6)
    np.testing.assert_allclose(unsure.hand_probs, 0.6 * sure.hand_probs, atol=1e-6)
    np.testing.assert_array_equal(unsure.deformations, sure.deformations)


def test_the_gap_is_the_distance_of_the_surfaces(skin_contact, head, pushed):
    gaps = [float(skin_contact(pushed(depth), head).gap) for depth in (-0.02, -0.01, 0.0, 0.005)]
    assert (np.diff(gaps) < 0).all()
    assert gaps[1] == pytest.approx(0.01, abs=0.004)
    assert gaps[3] < -0.002


def test_answers_move_with_the_scene(skin_contact, head, pushed):
    turn = Rotation.from_rotvec([0.4, -0.7, 0.2]).as_matrix()
    move = lambda points: np.float32(points @ turn.T + [0.1, -0.2, 0.3])
    hand = pushed(0.004)
    still, moved = skin_contact(hand, head), skin_contact(move(hand), move(head))
    np.testing.assert_allclose(moved.deformations, still.deformations @ turn.T, atol=2e-5)
    np.testing.assert_allclose(moved.head_probs, still.head_probs, atol=2e-3)
    np.testing.assert_allclose(moved.hand_probs, still.hand_probs, atol=2e-3)
    assert float(moved.gap) == pytest.approx(float(still.gap), abs=1e-5)
