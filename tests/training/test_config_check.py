"""Every field of a training configuration is checked before anything is written."""

import functools
import math

import pytest
from ml_collections import ConfigDict
from support import micro_run

from dice_jax import configs, errors, train
from dice_jax.errors import UserError
from dice_jax.training import config_check

NAMES = sorted(configs.CONFIGS)


def leaves(section, path=""):
    for name, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


SMALL = dict(leaves(configs.get_config("small").to_dict()))


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_configuration_is_right(name):
    config_check.check(configs.get_config(name))


def test_every_number_is_checked_or_of_the_model():
    """A field that is added later needs a range."""
    free = {path for path, value in SMALL.items() if isinstance(value, int | float)}
    free = {p for p in free if not p.startswith(("model.", "losses.", "evidence."))}
    assert free <= set(config_check._FIELDS)


def wrong_values(value):
    if isinstance(value, bool):
        return ["x", 3, None]
    if isinstance(value, int | float):
        return [-1e6, math.nan, math.inf, -math.inf, 1e13, "x", None, True]
    return [3, None] if isinstance(value, str) else []


@pytest.mark.parametrize("path", sorted(SMALL))
def test_every_wrong_value_is_refused_with_its_field(path):
    for wrong in wrong_values(SMALL[path]):
        if isinstance(SMALL[path], str) and not path.startswith(("model.", "optimizer.schedule")):
            continue  # names, whose readers refuse them
        values = configs.get_config("small").to_dict()
        *heads, name = path.split(".")
        functools.reduce(dict.__getitem__, heads, values)[name] = wrong
        with pytest.raises(UserError) as caught:
            config_check.check(ConfigDict(values))
        assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 10_000_000},
        {"seed": -1},
        {"keep_checkpoints": 0},
        {"ema_decay": 1.0},
        {"total_steps": -5},
        {"burn_in_share": 2.0},
        {"batch_size_per": "gpu"},
    ],
)
def test_nothing_is_written_for_a_wrong_configuration(tmp_path, change):
    config = micro_run.get_config(**change)
    with pytest.raises(UserError, match=next(iter(change))):
        train.train(config, tmp_path / "run", **micro_run.inputs())
    assert not (tmp_path / "run").exists()


BROKEN = {
    "syntax": ("def get_config(:\n  pass\n", "line 1"),
    "name": ("def get_config():\n  return confg\n", "line 2"),
    "import": ("import nowhere_at_all\ndef get_config():\n  return 1\n", "line 1"),
    "attribute": (
        "from dice_jax import configs\ndef get_config():\n"
        "  c = configs.get_config('tiny')\n  return c.nothing\n",
        "line 4",
    ),
    "zero": ("def get_config():\n\n  return 1 / 0\n", "line 3"),
}


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_configuration_file_is_one_line_with_its_place(tmp_path, name):
    from absl import flags
    from ml_collections import config_flags

    content, place = BROKEN[name]
    path = tmp_path / "broken.py"
    path.write_text(content)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    before, flags.FLAGS = flags.FLAGS, values
    try:
        with pytest.raises(UserError) as caught:
            errors._parse_flags(["train", f"--config={path}"])
    finally:
        flags.FLAGS = before
    message = str(caught.value)
    assert "broken.py" in message and place in message and "\n" not in message
