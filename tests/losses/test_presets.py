"""Presets of the loss weights: effective weights of every term, and errors of bad overrides."""

import dataclasses

import pytest

from dice_jax.constants import NUM_HEAD_VERTICES
from dice_jax.losses import presets
from dice_jax.losses.presets import LossWeights, loss_weights
from dice_jax.losses.terms import build_terms


def effective_weights(weights: LossWeights) -> dict[str, float]:
    """The factor of every term in the objective."""
    return {term.name: term.weight for term in build_terms(weights)}


def test_the_paper_preset_has_the_paper_s_weights():
    weights = presets.PAPER
    expected = {
        "reprojection": 12.5,
        "vertices": 50,
        "rough_vertices": 200,
        "keypoints": 25,
        "params": 25,
        "touch": 1,
        "contact": 3,
        "collision": 5,
        "deformation": 30,
        "adversarial": 1,
        "depth": 2.5,
        "presence": 0,
        "deformation_prior": 0,
        "heatmaps": 0,
        "hand_depth": 0,
        "hand_presence": 0,
    }
    assert effective_weights(weights) == pytest.approx(expected)
    assert not weights.non_saturating and not weights.touch_squared and weights.touch_deformed
    assert weights.collision_over_colliding and not weights.deformation_l1
    assert weights.depth_formula == "silog" and weights.depth_deformed
    assert weights.discriminator_with_neck and weights.params_with_neck


def test_the_release_preset_is_its_training_script_divided_by_twenty():
    weights = presets.RELEASE
    flags = {
        "vertices": 1000,
        "keypoints": 500,
        "reprojection": 250,
        "params": 500,
        "contact": 300 * 0.2,
        "presence": 500,
        "deformation": 3000,
        "deformation_prior": 200,
        "touch": 100,
        "collision": 500,
        "adversarial": 20,
        "depth": 50,
        "rough_vertices": 4 * 1000,
        "heatmaps": 0,
        "hand_depth": 0,
        "hand_presence": 0,
    }
    scaled = {name: flag / 20 for name, flag in flags.items()}
    assert effective_weights(weights) == pytest.approx(scaled)
    assert (weights.deviation, weights.large_deformation) == (100, 4)
    assert (weights.discriminator_hand, weights.discriminator_head) == (3, 1)
    assert weights.deformation_l1 and weights.collision_squared and weights.touch_squared
    assert not weights.collision_over_colliding and not weights.depth_deformed
    assert not weights.discriminator_with_neck and weights.depth_formula == "silog"


def test_fixed_is_the_default_and_keeps_the_paper_s_weights():
    assert loss_weights() == presets.FIXED == LossWeights()
    fixed, paper = effective_weights(presets.FIXED), effective_weights(presets.PAPER)
    for name in set(paper) - {"presence", "deformation_prior", "collision"}:
        assert fixed[name] == paper[name], name
    # The collision loss has another denominator: equal where 50 vertices collide.
    assert presets.FIXED.collision / NUM_HEAD_VERTICES == pytest.approx(1 / 50, rel=0.01)
    assert presets.PAPER.collision == 1
    assert not presets.FIXED.collision_over_colliding and not presets.FIXED.collision_squared
    assert presets.FIXED.depth_formula == "affine_invariant" and presets.FIXED.depth_deformed


def test_overrides_replace_single_fields():
    weights = loss_weights("paper", {"touch": 0.0, "depth_deformed": False})
    assert weights == dataclasses.replace(presets.PAPER, touch=0.0, depth_deformed=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("papier", None), "unknown loss preset"),
        (("paper", {"tuch": 1.0}), "unknown loss weight tuch"),
        (("paper", {"depth_formula": "l1"}), r"losses\.depth_formula is 'l1': choose one of"),
    ],
)
def test_an_unknown_preset_field_or_formula_is_a_one_line_error(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        loss_weights(*arguments)
    assert "\n" not in str(error.value)
