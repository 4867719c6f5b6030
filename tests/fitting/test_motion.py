"""What moved little is held; what moved far is not pulled back harder."""

import jax
import jax.numpy as jnp
import numpy as np
from support import fit_problems

from dice_jax.fitting.motion import HandBefore, HeadBefore, hand_motion, head_motion
from dice_jax.structs import Camera


def test_the_pull_on_a_hand_is_bounded(rng):
    hand = fit_problems.random_hand(rng)
    keypoints = jnp.asarray(rng.normal(0, 0.05, (21, 3)), jnp.float32)
    before = HandBefore(keypoints, hand.betas)
    cost = lambda x: 0.5 * (hand_motion(before, hand, keypoints + x * jnp.eye(3)[:1]) ** 2).sum()
    assert cost(0.0) == 0.0
    pull = [float(jax.grad(cost)(x)) for x in (0.001, 0.005, 0.05, 0.2)]
    np.testing.assert_allclose(pull[1], 5 * pull[0], rtol=0.1)  # as a spring
    assert pull[3] < 1.1 * pull[2]


def test_a_hand_keeps_its_shape(rng):
    hand = fit_problems.random_hand(rng)
    keypoints = jnp.zeros((21, 3))
    other = HandBefore(keypoints, hand.betas + 0.1)
    np.testing.assert_allclose(
        hand_motion(other, hand, keypoints), [*np.zeros(63), *-np.ones(10)], atol=1e-5
    )


def test_a_head_that_did_not_move_costs_nothing(rng):
    head = fit_problems.random_head(rng)
    camera, _ = fit_problems.random_camera(rng)
    points = jnp.asarray(rng.normal(0, 0.05, (150, 3)), jnp.float32)
    residuals = lambda cam: head_motion(HeadBefore(head, camera), head, cam, points, points, 30)
    np.testing.assert_array_equal(residuals(camera), 0.0)
    for moved in (
        Camera(1.05 * camera.scale, camera.transl),
        Camera(camera.scale, camera.transl + jnp.array([5.0, 0.0])),
    ):
        assert (residuals(moved) ** 2).sum() > 0.5
