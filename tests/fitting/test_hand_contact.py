"""A hand in front of a wall: where it starts before Levenberg-Marquardt brings it into contact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import fit_problems

from dice_jax.fitting.hand_contact import ContactConfig, bring_into_contact, doubt_contact
from dice_jax.fitting.hand_evidence import HandEvidence, HeadSurface
from dice_jax.fitting.hand_points import HandUnknowns
from dice_jax.structs import Camera, Intrinsics

CONFIG = ContactConfig(share_inside=1.0, far_off=1.0)  # nothing but hiding moves the hand
CAMERA = Camera(jnp.asarray(600.0), jnp.array([112.0, 112.0]))
FAR_CAMERA = Intrinsics(jnp.asarray(jnp.inf), jnp.zeros(2))


def wall(x_from):
    """Skin in the plane z = 0, from `x_from` to the right."""
    x, y = np.meshgrid(x_from + np.arange(0.0, 0.3, 0.004), np.arange(-0.2, 0.2, 0.004))
    vertices = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    facing = np.broadcast_to([0.0, 0.0, -1.0], vertices.shape)
    zeros = jnp.zeros(len(vertices))
    return HeadSurface(
        vertices=jnp.asarray(vertices, jnp.float32),
        normals=jnp.asarray(facing, jnp.float32),
        outside=jnp.ones(len(vertices), bool),
        give=zeros,
        contact=zeros,
    )


def evidence_of(hand, vertices, confidence=1.0, touches=1.0):
    return HandEvidence(
        points=jnp.zeros((21, 4)).at[:, 3].set(confidence),
        world=jnp.zeros((21, 3)),
        network=hand,
        trust=jnp.ones(()),
        depth=jnp.zeros(()),
        depth_sigma=jnp.asarray(0.05),
        contact=jnp.zeros(len(vertices)),
        touches=jnp.asarray(touches),
        camera=CAMERA,
        intrinsics=FAR_CAMERA,
    )


@pytest.fixture(scope="module")
def moved(models):
    """Function: how far a hand is moved towards the camera that is `behind` a part of the wall."""
    bring = jax.jit(lambda *args: bring_into_contact(args[0], models.hand, *args[1:], CONFIG))

    def call(rng, behind, share, confidence=1.0, touches=1.0):
        hand = fit_problems.random_hand(rng, tilt=0.0, hand_pose=np.zeros(45))  # flat
        vertices, keypoints, _ = models.hand.pose(hand)
        first = np.quantile(keypoints[:, 0], 1 - share)
        depth = np.asarray(vertices)[np.asarray(vertices)[:, 0] > first, 2].max()
        hand = hand.replace(transl=jnp.array([0.0, 0.0, behind - depth]))
        evidence = evidence_of(hand, vertices, confidence, touches)
        after = bring(HandUnknowns.at(hand), wall(first), evidence, hand)
        assert not np.any(after.shift[:2])
        return -float(after.params(hand).transl[2] - hand.transl[2])

    return call


@pytest.mark.parametrize("touches", [0.0, 1.0])
def test_fingers_that_were_seen_come_in_front(moved, rng, touches):
    behind = 0.03
    assert moved(rng, behind, 0.4, touches=touches) == pytest.approx(behind, abs=6e-3)


def test_a_hand_in_front_stays(moved, rng):
    assert moved(rng, -0.002, 0.4) == 0.0


def test_a_single_hidden_finger_tip_stays(moved, rng):
    assert moved(rng, 0.03, 0.05) == 0.0


def test_a_hand_far_behind_stays(moved, rng):
    assert moved(rng, 0.08, 0.2) == 0.0


def test_keypoints_that_nobody_saw_stay_hidden(moved, rng):
    assert moved(rng, 0.035, 0.2, confidence=0.0) == 0.0


@pytest.fixture(scope="module")
def believed(models):
    """Function: the probability of contact that is left of 1 for a hand away from the wall."""
    doubt = jax.jit(lambda *args: doubt_contact(args[0], models.hand, *args[1:], ContactConfig()))

    def call(rng, before=0.0, beside=0.0):
        hand = fit_problems.random_hand(rng)
        vertices = np.asarray(models.hand.pose(hand)[0])
        hand = hand.replace(transl=jnp.array([0.0, 0.0, -before - vertices[:, 2].max()]))
        skin = wall(vertices[:, 0].max() + beside if beside else -0.2)
        args = HandUnknowns.at(hand), skin, evidence_of(hand, vertices), hand
        return float(doubt(*args).touches)

    return call


def test_a_hand_near_the_head_may_touch_it(believed, rng):
    assert believed(rng, before=0.01) > 0.99


def test_a_hand_far_in_front_of_the_head_does_not_touch_it(believed, rng):
    assert believed(rng, before=0.16) < 0.01


def test_a_hand_beside_the_head_in_the_image_does_not_touch_it(believed, rng):
    assert believed(rng, beside=0.025) < 0.01


def test_the_doubt_grows_with_the_distance(believed, rng):
    values = [believed(np.random.default_rng(3), before=x) for x in (0.0, 0.08, 0.1, 0.12)]
    assert values == sorted(values, reverse=True) and values[2] == pytest.approx(0.5, abs=0.02)
