"""Kinds of scene: drawn as often as stated, with the hands that their names state."""

import collections

import numpy as np

from dice_jax.synthetic import kinds
from dice_jax.synthetic.kinds import Frequencies, Kind, Placement


def test_kinds_are_drawn_as_often_as_stated():
    rng, frequencies = np.random.default_rng(0), Frequencies()
    plans = [kinds.sample_plan(rng) for _ in range(6000)]
    counts = collections.Counter(plan.kind for plan in plans)
    np.testing.assert_allclose(sum(frequencies.kinds.values()), 1)
    for kind, probability in frequencies.kinds.items():
        assert abs(counts[kind] / len(plans) - probability) < 0.02, kind
    accompanied = [plan for plan in plans if plan.kind in (Kind.TOUCH, Kind.NEAR)]
    share = np.mean([plan.left is not None for plan in accompanied])
    assert abs(share - frequencies.second_hand) < 0.02


def test_plans_have_the_hands_of_their_kind(rng):
    for _ in range(500):
        plan = kinds.sample_plan(rng)
        if plan.kind is Kind.NO_HAND:
            assert plan.right is None and plan.left is None
        elif plan.kind is Kind.LEFT_ONLY:
            assert plan.right is None and plan.left is not None
        elif plan.kind is Kind.OTHER_PERSON:
            assert plan.right in (Placement.TOUCH, Placement.NEAR) and plan.left is None
        else:
            assert plan.right is not None and plan.right.value == plan.kind.value
