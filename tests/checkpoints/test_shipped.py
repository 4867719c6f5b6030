"""Weights by name or by folder: a shipped name wins over a folder of the same name."""

import pytest

from dice_jax.checkpoints import shipped


def test_a_shipped_name_wins_unless_it_is_written_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("here/default", "package/default", "here/mine", "package/mine/deeper"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    find = lambda name: shipped.weights_folder(name, tmp_path / "package").resolve()
    assert find("default") == tmp_path / "package" / "default"
    for path in ("../here/default", tmp_path / "here" / "default"):
        assert find(path) == tmp_path / "here" / "default"
    for name in ("nothing", "", " "):
        with pytest.raises(FileNotFoundError, match="neither a folder nor shipped"):
            find(name)
