"""No output of any configuration depends on a weight that its losses do not train."""

import dataclasses
import importlib

import pytest
from support import gradient_flow, micro_run

from dice_jax import errors
from dice_jax.configs import ablations, baselines
from dice_jax.input_pipeline import loader
from dice_jax.losses import presets as losses
from dice_jax.models import presets as models
from dice_jax.training import setup as train_setup

ROWS = ("dice", *ablations.ABLATIONS, *baselines.BASELINES)


def config_of(row, base):
    if row in ("dice", "release"):
        config = ablations.base_config(base)
    else:
        config = importlib.import_module(f"configs.{row}").get_config(base)
    if row == "release":
        config.model = models.release()
        config.losses.update(dataclasses.asdict(losses.RELEASE))
    config.body_models.update(hand="", head="")
    # Repeated layers only take time.
    config.model.backbone.depth = 1
    for encoders in (config.model.mesh_net.encoders, config.model.interaction_net.encoders):
        encoders.layers = (1,) * len(encoders.layers)
    return config


@pytest.fixture(scope="module")
def batch():
    return loader.Loader([micro_run.sample(i) for i in range(2)], 2, seed=0).batch(0)


CASES = [
    *((row, base) for row in ROWS for base in ("full", "small")),
    ("release", "full"),
    ("dice", "tiny"),
    ("dice", "synthetic"),
    ("dice", "overfit"),
]
CASES.remove(("no_in_the_wild", "small"))  # only full trains on photos


@pytest.mark.parametrize(("row", "base"), CASES)
def test_no_output_depends_on_an_untrained_weight(row, base, batch):
    config = config_of(row, base)
    setup, bodies = train_setup.build_setup(config)
    untrained = gradient_flow.untrained(setup, bodies, batch)
    if config.model.backbone.frozen_stages:  # ImageNet's weights are not trained on purpose
        untrained = {name for name in untrained if not name.split("/")[0].endswith("backbone")}
    used = gradient_flow.used_by_outputs(setup, bodies, batch)
    assert used and untrained & used == set()


def test_an_untrained_gate_is_found(batch):
    """The check above sees what it is for."""
    config = config_of("dice", "tiny")
    setup, bodies = train_setup.build_setup(config)
    without = dataclasses.replace(setup, losses=dataclasses.replace(setup.losses, presence=0.0))
    untrained = gradient_flow.untrained(without, bodies, batch)
    used = gradient_flow.used_by_outputs(setup, bodies, batch)
    assert {name.split("/")[0] for name in untrained & used} == {"presence"}
    config.losses.presence = 0.0
    with pytest.raises(errors.UserError, match=r"--config\.model\.presence=False"):
        train_setup.build_setup(config)
