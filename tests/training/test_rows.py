"""The rows of the paper's tables 1 and 3: what each configuration changes, and two steps of those
that are not run for the documentation, with narrow networks.
"""

import importlib

import numpy as np
import pytest
from support import micro_run

from dice_jax.configs import ablations
from dice_jax.input_pipeline import loader
from dice_jax.losses.terms import active_terms
from dice_jax.training import setup as train_setup

# Row: the parts of the loss that the base has and it has not.
ROWS = {
    "single_branch": set(),
    "no_rough": {"rough_vertices"},
    "no_depth": {"depth"},
    "no_params": {"params"},
    "no_adversarial": {"adversarial"},
    "metro": {"params", "adversarial"},
    "fastmetro": {"params", "adversarial", "heatmaps"},
    "pixie_r": {
        "heatmaps",
        "rough_vertices",
        "touch",
        "contact",
        "deformation",
        "deformation_prior",
    },
}


def config_of(row, base):
    return importlib.import_module(f"configs.{row}").get_config(base)


def parts(config):
    weights = train_setup.loss_weights(overrides=config.losses)
    return {term.name for term in active_terms(weights)}


@pytest.mark.parametrize("base", ["small", "tiny", "synthetic"])
@pytest.mark.parametrize("row", ROWS)
def test_a_row_differs_from_its_base_in_what_its_name_says(row, base):
    config, original = config_of(row, base), ablations.get_config(base)
    assert parts(original) - parts(config) == ROWS[row] & parts(original) and parts(
        config
    ) <= parts(original)
    for name in ("total_steps", "batch_size", "data", "optimizer"):
        assert config[name] == original[name]
    assert (config.model == original.model) == row.startswith("no_")


def test_without_photographs_the_studio_is_left():
    config, original = config_of("no_in_the_wild", "full"), ablations.get_config("full")
    assert config.data.name == "decaf:11" and parts(original) - parts(config) == {"depth"}
    with pytest.raises(ValueError, match="no photographs to leave out"):
        config_of("no_in_the_wild", "small")


@pytest.mark.parametrize("row", ["no_in_the_wild", "no_rough", "no_depth", "fastmetro", "pixie_r"])
def test_two_steps(row, monkeypatch):
    config = config_of(row, "full" if row == "no_in_the_wild" else "tiny")
    config.body_models.update(hand="", head="")
    # What is slow to compile, and the same in all of these rows.
    config.losses.update(touch=0.0, collision=0.0, depth=0.0)
    if row.startswith("no_"):  # not a matter of the network
        micro_run.install(monkeypatch.setattr)
        config.losses.heatmaps = 0.0  # which the micro network has not
    setup, bodies = train_setup.build_setup(config)
    batch = loader.Loader([micro_run.sample(i) for i in range(2)], 2, seed=0).batch(0)
    state, losses = micro_run.two_steps(setup, bodies, batch)
    assert state.step == 2 and state.failed_step == -1
    for step in losses:
        assert all(np.isfinite(value) for value in step.values())
        assert {f"loss/{name}" for name in parts(config)} <= set(step)
    assert losses[0]["loss"] != losses[1]["loss"]
