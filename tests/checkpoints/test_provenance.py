"""The origin of a checkpoint, and differences from the current run."""

import json
import subprocess

import dice_jax
from dice_jax.checkpoints import provenance
from dice_jax.configs import tiny


def test_the_origin_holds_code_data_and_configuration_as_json():
    about = json.loads(json.dumps(provenance.about(tiny.get_config(), 64)))
    assert about["dice_jax"] == dice_jax.__version__ and about["data"] == {"samples": 64}
    assert about["config"]["optimizer"]["learning_rate"] == 1e-3


def test_the_commit_is_that_of_the_source_tree_or_none(tmp_path, monkeypatch):
    package = tmp_path / "dice_jax/__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(dice_jax, "__file__", str(package))
    assert provenance.git_commit() is None
    git = lambda *words: subprocess.run(
        ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    assert provenance.git_commit() == git("rev-parse", "HEAD")
    package.write_text("changed = True\n")
    assert provenance.git_commit() == git("rev-parse", "HEAD") + "-dirty"


def test_only_changes_with_an_effect_on_later_updates_are_listed():
    config = tiny.get_config()
    # As restored from a checkpoint: through JSON, where tuples become lists.
    before = json.loads(json.dumps(provenance.about(config, 64)))
    assert provenance.changes(before, provenance.about(config, 64)) == []
    config.log_every, config.data.dir = 3, "elsewhere"
    config.optimizer.learning_rate = 0.5
    assert provenance.changes(before, provenance.about(config, 65)) == [
        "config.optimizer.learning_rate 0.001 -> 0.5",
        "data.samples 64 -> 65",
    ]
    assert provenance.changes({}, provenance.about(config, 64)) == []
