"""Ablations and baselines: what each changes in its base, and two steps of some of them.

The two steps are of the rows that are not trained for the documentation, with narrow networks.
"""

import importlib

import numpy as np
import pytest
from support import micro_run

from dice_jax import models
from dice_jax.configs import ablations
from dice_jax.input_pipeline import loader
from dice_jax.losses.presets import loss_weights
from dice_jax.losses.terms import active_terms
from dice_jax.training import setup as train_setup

# The loss terms that a row does not have, if its base has them.
REMOVED_TERMS = {
    "single_branch": set(),
    "no_rough": {"rough_vertices"},
    "no_depth": {"depth"},
    "no_params": {"params"},
    "no_adversarial": {"adversarial"},
    "metro": {"hand_depth", "hand_presence"},
    "fastmetro": {"heatmaps", "hand_depth", "hand_presence"},
    "pixie_r": {"heatmaps", "hand_depth", "hand_presence", "rough_vertices"},
}
NETWORKS = {
    name: name if name in ("single_branch", "metro", "fastmetro", "pixie_r") else "dice"
    for name in (*REMOVED_TERMS, "no_in_the_wild")
}


def config_of(row, base):
    return importlib.import_module(f"configs.{row}").get_config(base)


def terms(config):
    return {term.name for term in active_terms(loss_weights(overrides=config.losses))}


@pytest.mark.parametrize("base", ["small", "tiny", "synthetic"])
@pytest.mark.parametrize("row", REMOVED_TERMS)
def test_a_row_changes_only_its_own_loss_terms_and_network(row, base):
    config, original = config_of(row, base), ablations.base_config(base)
    assert terms(config) == terms(original) - REMOVED_TERMS[row]
    for name in ("total_steps", "batch_size", "data", "optimizer"):
        assert config[name] == original[name]
    assert models.ModelConfig.from_dict(config.model).network == NETWORKS[row]
    assert (config.model == original.model) == (NETWORKS[row] == "dice")


@pytest.mark.parametrize("row", NETWORKS)
def test_an_unknown_base_is_an_error_that_lists_the_bases(row):
    message = (
        "no base configuration called 'large': choose one of full, synthetic, overfit, small, tiny"
    )
    with pytest.raises(ValueError, match=message):
        config_of(row, "large")


def test_fastmetro_trains_on_the_studio_data_alone():
    """As the paper says of it; METRO* and PIXIE-R train on what their base trains on."""
    assert config_of("fastmetro", "full").data.name == "decaf:11"
    assert terms(config_of("fastmetro", "full")) == terms(config_of("no_in_the_wild", "full"))
    for row in ("metro", "pixie_r"):
        assert config_of(row, "full").data == ablations.base_config("full").data


def test_no_in_the_wild_trains_on_the_studio_data():
    config, original = config_of("no_in_the_wild", "full"), ablations.base_config("full")
    assert config.data.name == "decaf:11" and terms(original) - terms(config) == {"depth"}
    with pytest.raises(ValueError, match="has no in-the-wild data to leave out"):
        config_of("no_in_the_wild", "small")


@pytest.mark.parametrize(
    "row",
    [
        "no_in_the_wild",
        "no_rough",
        "no_depth",
        pytest.param("fastmetro", marks=pytest.mark.slow),
        "pixie_r",
    ],
)
def test_two_steps(row):
    config = config_of(row, "full" if row == "no_in_the_wild" else "tiny")
    config.body_models.update(hand="", head="")
    config.model.backbone.pretrained = "none"
    # These are slow to compile, and the same in all of these rows.
    config.losses.update(touch=0.0, collision=0.0, depth=0.0)
    create_network = models.create_model
    if NETWORKS[row] == "dice":  # the row does not change the network
        create_network = micro_run.create_network
        # The micro network lacks these outputs.
        config.losses.update(heatmaps=0.0, hand_depth=0.0, hand_presence=0.0)
    setup, bodies = train_setup.build_setup(config, create_network)
    batch = loader.Loader([micro_run.sample(i) for i in range(2)], 2, seed=0).batch(0)
    state, losses = micro_run.two_steps(setup, bodies, batch)
    assert state.step == 2 and state.failed_step == -1
    for step in losses:
        assert all(np.isfinite(value) for value in step.values())
        assert {f"loss/{name}" for name in terms(config)} <= set(step)
    assert losses[0]["loss"] != losses[1]["loss"]
