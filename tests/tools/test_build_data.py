"""The command that builds the open scenes hands its words to the right engine."""

import pytest

from dice_jax.datasets import hand_face_synth, part_engines
from dice_jax.tools import build_data


@pytest.fixture
def asked(monkeypatch):
    """What the command asked for."""
    asked = {}

    def load_split(folder, split, size, production):
        asked.update(folder=folder, split=split, size=size, engine=production.engine)
        return range(size or 3)

    monkeypatch.setattr(hand_face_synth, "load_split", load_split)

    def through_beam(options):
        asked["options"] = options
        return lambda write, numbers: map(write, numbers)

    monkeypatch.setattr(part_engines, "through_beam", through_beam)
    return asked


def test_it_builds_on_this_machine(asked, tmp_path, capsys):
    build_data.main(["--split", "test", "--size", "7", "--out", str(tmp_path / "data")])
    assert asked["split"] == "test" and asked["size"] == 7
    assert asked["folder"] == tmp_path / "data"
    assert asked["engine"] is part_engines.on_this_machine and "options" not in asked
    assert "test: 7 images" in capsys.readouterr().out


def test_words_after_beam_are_options_of_its_pipeline(asked, tmp_path):
    options = ["--runner=FlinkRunner", "--out", "elsewhere"]
    build_data.main(["--split", "train", "--out", str(tmp_path), "--beam", *options])
    assert asked["options"] == options and asked["engine"] is not part_engines.on_this_machine
    assert asked["folder"] == tmp_path and asked["size"] is None


def test_an_unknown_word_is_refused(asked, tmp_path, capsys):
    with pytest.raises(SystemExit):
        build_data.main(["--split", "train", "--out", str(tmp_path), "--runner=FlinkRunner"])
    assert "--runner" in capsys.readouterr().err and not asked
