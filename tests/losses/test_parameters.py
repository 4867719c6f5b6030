"""L_params in the two forms of the paper and the released code."""

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


def test_the_paper_divides_the_head_by_three_and_the_hand_by_two(params):
    hand, head, target_hand, target_head = params
    pose = lambda p: np.concatenate([p.neck_pose, p.jaw_pose], -1)
    head_sum = absolute(head.betas, target_head.betas)
    head_sum += absolute(head.expression, target_head.expression)
    head_sum += absolute(pose(head), pose(target_head))
    hand_sum = absolute(hand.betas, target_hand.betas)
    hand_sum += absolute(hand.hand_pose, target_hand.hand_pose)
    np.testing.assert_allclose(params_loss(*params), head_sum / 3 + hand_sum / 2, rtol=1e-5)


def test_the_release_divides_both_by_two_and_leaves_the_neck_out(params):
    hand, head, target_hand, target_head = params
    over = lambda names, a, b: sum(absolute(getattr(a, name), getattr(b, name)) for name in names)
    expected = over(("betas", "expression", "jaw_pose"), head, target_head)
    expected += over(("betas", "hand_pose"), hand, target_hand)
    found = params_loss(*params, head_divisor=2.0, with_neck=False)
    np.testing.assert_allclose(found, expected / 2, rtol=1e-5)


def test_global_orientation_and_translation_do_not_count(params):
    *predicted, target_hand, target_head = params
    moved = [p.replace(global_orient=p.global_orient + 1, transl=p.transl + 1) for p in predicted]
    found = params_loss(*moved, target_hand, target_head)
    np.testing.assert_array_equal(found, params_loss(*params))
