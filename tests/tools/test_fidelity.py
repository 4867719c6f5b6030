"""The page on fidelity says what the presets are."""

import dataclasses
import importlib.util
import pathlib
import re

from dice_jax.configs import full
from dice_jax.losses import presets

PATH = pathlib.Path(__file__).parents[2] / "tools/fidelity.py"
spec = importlib.util.spec_from_file_location("fidelity", PATH)
fidelity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fidelity)


def test_the_tables_are_those_of_the_presets():
    page = fidelity.PAGE.read_text()
    assert fidelity.filled(page) == page, "run python tools/fidelity.py"


def test_every_difference_between_the_presets_has_a_row():
    page = fidelity.PAGE.read_text()
    paper, *others = map(dataclasses.asdict, (presets.PAPER, presets.RELEASE, presets.FIXED))
    for name, value in paper.items():
        if any(other[name] != value for other in others):
            assert f"| `losses.{name}` |" in page, name


def test_every_field_that_the_page_names_exists():
    config = full.get_config()
    named = re.findall(r"`(config|model|losses)\.([\w.]+)`", fidelity.PAGE.read_text())
    assert len(named) > 40
    for section, path in named:
        value = config if section == "config" else config[section]
        for name in path.split("."):
            assert name in value, f"{section}.{path}"
            value = value[name]
