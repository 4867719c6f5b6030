"""Presets of the loss weights: effective weights of every term, and errors of bad overrides."""

import dataclasses

import pytest

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
    }
    assert effective_weights(weights) == pytest.approx(expected)
    assert not weights.non_saturating and not weights.touch_squared and weights.touch_deformed


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
    }
    scaled = {name: flag / 20 for name, flag in flags.items()}
    assert effective_weights(weights) == pytest.approx(scaled)
    assert (weights.deviation, weights.large_deformation) == (100, 4)
    assert (weights.discriminator_hand, weights.discriminator_head) == (3, 1)


def test_fixed_is_the_default_and_keeps_the_paper_s_weights():
    assert loss_weights() == presets.FIXED == LossWeights()
    fixed, paper = effective_weights(presets.FIXED), effective_weights(presets.PAPER)
    for name in set(paper) - {"presence", "deformation_prior"}:
        assert fixed[name] == paper[name], name


def test_overrides_replace_single_fields():
    weights = loss_weights("paper", {"touch": 0.0, "depth_align_shift": True})
    assert weights == dataclasses.replace(presets.PAPER, touch=0.0, depth_align_shift=True)


@pytest.mark.parametrize("arguments", [("papier", None), ("paper", {"tuch": 1.0})])
def test_an_unknown_preset_or_field_is_a_one_line_error(arguments):
    with pytest.raises(ValueError, match=r"unknown loss") as error:
        loss_weights(*arguments)
    assert "\n" not in str(error.value)
