"""The doctor passes a working installation and names what is broken."""

import pytest
from support.tiny_model import save_tiny_weights

from dice_jax.tools import doctor


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder to write to; no licensed file is installed."""
    monkeypatch.setenv("DICE_ASSETS", str(tmp_path / "assets"))
    return tmp_path


def test_a_working_installation_passes_and_missing_files_are_listed(folder, capsys):
    assert doctor.main([], shipped=folder / "none") == 0
    report = capsys.readouterr().out
    assert "forward pass of a known network: agrees" in report
    for text in (
        *("jax 0.", "device 0: cpu", "open hand: works", "open head: works"),
        "weights: none are shipped",
    ):
        assert text in report
    for name, site in (("mano_right", "mano.is.tue.mpg.de"), ("flame", "flame.is.tue.mpg.de")):
        (line,) = (line for line in report.splitlines() if line.startswith(f"{name}: not there"))
        assert site in line and str(folder) in line


def test_broken_files_and_a_wrong_forward_pass_are_named(folder, capsys):
    weights, flame = save_tiny_weights(folder / "weights"), folder / "assets/flame.npz"
    path = weights / "weights.npz"
    path.write_bytes(path.read_bytes()[:-1000])
    flame.parent.mkdir()
    flame.write_bytes(b"nothing")
    wrong = lambda: (0.0,) * 7
    assert doctor.main(["--weights", str(weights)], folder / "none", forward=wrong) == 1
    report = capsys.readouterr().out
    assert "DOES NOT AGREE" in report
    assert f"weights {weights} ({doctor.sha256(path)}): DOES NOT WORK" in report
    assert f"flame ({doctor.sha256(flame)}): DOES NOT WORK" in report
