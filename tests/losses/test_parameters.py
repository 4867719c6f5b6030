import numpy as np
import pytest

from dice_jax.losses.parameters import params_loss
from dice_jax.structs import HandParams, HeadParams


def random_params(rng):
    make = lambda n: rng.normal(size=(4, n)).astype(np.float32)
    hand = HandParams(betas=make(10), global_orient=make(3), hand_pose=make(45), transl=make(3))
    head = HeadParams(
        betas=make(100),
        expression=make(50),
        global_orient=make(3),
        neck_pose=make(3),
        jaw_pose=make(3),
        transl=make(3),
    )
    return hand, head


@pytest.fixture
def params(rng):
    return *random_params(rng), *random_params(rng)


def absolute(a, b):
    return np.abs(a - b).mean(-1)


def test_paper_divides_the_head_by_three_and_the_hand_by_two(params):
    hand, head, target_hand, target_head = params
    pose = lambda p: np.concatenate([p.neck_pose, p.jaw_pose], -1)
    expected = (
        absolute(head.betas, target_head.betas)
        + absolute(head.expression, target_head.expression)
        + absolute(pose(head), pose(target_head))
    ) / 3 + (
        absolute(hand.betas, target_hand.betas) + absolute(hand.hand_pose, target_hand.hand_pose)
    ) / 2
    np.testing.assert_allclose(params_loss(*params), expected, rtol=1e-5)


def test_release_halves_the_sum_of_five_and_leaves_the_neck_out(params):
    hand, head, target_hand, target_head = params
    five = sum(
        absolute(getattr(head, name), getattr(target_head, name))
        for name in ("betas", "expression", "jaw_pose")
    )
    five += sum(
        absolute(getattr(hand, name), getattr(target_hand, name)) for name in ("betas", "hand_pose")
    )
    np.testing.assert_allclose(
        params_loss(*params, head_divisor=2.0, with_neck=False), five / 2, rtol=1e-5
    )


def test_orientation_and_translation_do_not_enter(params):
    hand, head, target_hand, target_head = params
    moved = (
        hand.replace(global_orient=hand.global_orient + 1, transl=hand.transl + 1),
        head.replace(global_orient=head.global_orient + 1, transl=head.transl + 1),
    )
    np.testing.assert_array_equal(
        params_loss(*moved, target_hand, target_head), params_loss(*params)
    )
