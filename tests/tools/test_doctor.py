"""The doctor finds the package healthy, and says what ails whatever is broken."""

import pytest
from support.tiny_model import save_tiny_weights

from dice_jax.tools import doctor


@pytest.fixture
def nothing_licensed(monkeypatch, tmp_path):
    monkeypatch.setenv("DICE_ASSETS", str(tmp_path / "assets"))
    return tmp_path


def test_the_known_forward_pass_agrees_and_what_is_missing_is_told(
    nothing_licensed, monkeypatch, capsys
):
    monkeypatch.setattr(doctor.shipped, "WEIGHTS_DIR", nothing_licensed / "none")
    assert doctor.main([]) == 0
    report = capsys.readouterr().out
    assert "forward pass of a known network: agrees" in report
    for text in (
        "jax 0.",
        "device 0: cpu",
        "open hand: works",
        "open head: works",
        "weights: none are shipped",
    ):
        assert text in report
    for name, site in (("mano_right", "mano.is.tue.mpg.de"), ("flame", "flame.is.tue.mpg.de")):
        (line,) = (line for line in report.splitlines() if line.startswith(f"{name}: not there"))
        assert site in line and str(nothing_licensed) in line


def test_broken_files_are_named(nothing_licensed, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "known_forward", lambda: (0.0,) * 7)
    folder = save_tiny_weights(nothing_licensed / "weights")
    path = folder / "weights.npz"
    path.write_bytes(path.read_bytes()[:-1000])
    (nothing_licensed / "assets").mkdir()
    (nothing_licensed / "assets/flame.npz").write_bytes(b"nothing")
    assert doctor.main(["--weights", str(folder)]) == 1
    report = capsys.readouterr().out
    assert (
        "DOES NOT AGREE" in report
        and f"weights {folder} ({doctor.sha256(path)}): DOES NOT WORK" in report
    )
    assert (
        f"flame ({doctor.sha256(nothing_licensed / 'assets/flame.npz')}): DOES NOT WORK" in report
    )
