"""The tool that trains rows of Table 3: which commands it gives, when it gives none, and what it
tells.
"""

import importlib
import json

import pytest

from dice_jax.errors import UserError
from dice_jax.tools import run_ablations

SUMMARY = {
    "pve_mm": 12.3,
    "mpjpe_mm": 14.0,
    "pa_mpjpe_mm": 9.0,
    "f_score": 0.5,
    "contact": {
        part: dict.fromkeys(("f1", "precision", "recall", "accuracy"), 0.25)
        for part in ("head", "hand")
    },
}


class Commands:
    """In place of the command lines: leaves behind what they would, and remembers what they were
    told.
    """

    def __init__(self):
        self.given = []

    def __call__(self, module, *words):
        self.given.append((module, words))
        flags = dict(word.removeprefix("--").split("=", 1) for word in words)
        if module == "dice_jax.train":
            config = {
                "batch_size": 8,
                "data": {"name": "hand_face_synth", "dir": "", "sizes": {"train": 64}},
            }
            lines = [{"step": step, "images_per_second": 16.0} for step in (100, 200)]
            (self.folder(flags["workdir"]) / "config.json").write_text(json.dumps(config))
            (self.folder(flags["workdir"]) / "metrics.jsonl").write_text(
                "".join(json.dumps(line) + "\n" for line in lines)
            )
        else:
            (self.folder(flags["out"]) / "metrics.json").write_text("{}")

    def folder(self, path):
        path = run_ablations.Path(path)
        path.mkdir(exist_ok=True)
        return path


@pytest.fixture
def commands(monkeypatch):
    made = Commands()
    monkeypatch.setattr(run_ablations, "_run", made)
    setting = {
        "data": "hand_face_synth",
        "split": "test",
        "samples": 512,
        "devices": 1,
        "device": "abacus",
        "dtype": "float32",
    }
    evaluation = type("Evaluation", (), {"setting": setting, "summaries": {"model": SUMMARY}})
    monkeypatch.setattr(run_ablations.record, "load", lambda folder: evaluation)
    return made


def test_rows_get_one_budget_and_their_own_configuration(commands, tmp_path, capsys):
    run_ablations.main(
        [
            "--rows=full,metro",
            "--steps=200",
            f"--out={tmp_path}",
            "--seed=3",
            "--config.batch_size=8",
        ]
    )
    trained = [words for module, words in commands.given if module == "dice_jax.train"]
    assert [words[0] for words in trained] == ["--config=small", "--config=metro:small"]
    for words in trained:
        assert set(words[2:]) == {
            "--config.batch_size=8",
            "--config.seed=3",
            "--config.total_steps=200",
        }
    report = (tmp_path / "ablations.md").read_text()
    assert report == capsys.readouterr().out.split("200 steps\n")[-1][: len(report)]
    for words in (
        "200 steps of batch 8",
        "seed 3",
        "configs/small.py",
        "1 x abacus",
        "512 samples",
        "DICE 0.03 h",
        "| METRO* | 12.3",
        "--config.batch_size=8",
    ):
        assert words in report


def test_finished_rows_are_not_run_again_and_broken_ones_go_on(commands, tmp_path):
    run = lambda rows: run_ablations.main([f"--rows={rows}", "--steps=200", f"--out={tmp_path}"])
    run("full")
    commands.given.clear()
    run("full,no_params")
    assert [words[1] for module, words in commands.given if module == "dice_jax.train"] == [
        f"--workdir={tmp_path / 'no_params'}"
    ]
    (tmp_path / "no_params/test/metrics.json").unlink()
    commands.given.clear()
    run("no_params")
    assert [module for module, _ in commands.given] == ["dice_jax.train", "dice_jax.evaluate"]


def test_rows_of_different_budgets_do_not_mix(commands, tmp_path):
    run_ablations.main(["--rows=full", "--steps=200", f"--out={tmp_path}"])
    with pytest.raises(UserError, match="another budget"):
        run_ablations.main(["--rows=full", "--steps=300", f"--out={tmp_path}"])


def test_every_row_there_is_can_be_asked_for_and_has_a_title():
    rows = ",".join(run_ablations.TITLES)
    assert run_ablations.parse([f"--rows={rows}", "--steps=1"])[0].rows == list(
        run_ablations.TITLES
    )
    for row in set(run_ablations.TITLES) - {"full", "no_in_the_wild"}:
        assert importlib.import_module(f"configs.{row}").get_config("tiny")


@pytest.mark.parametrize(
    "words, told",
    [
        (["--rows=fulll", "--steps=1"], "no row called fulll"),
        (["--steps=0"], "at least 1"),
        (["--steps=1", "--stops=1"], "--stops=1 is neither"),
    ],
)
def test_mistakes_are_one_clear_line(words, told, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_ablations.main(words)
    assert exit_.value.code == 2 and told in capsys.readouterr().err


def test_a_row_that_fails_ends_the_tool():
    with pytest.raises(UserError, match=r"no_such_module ended with 1"):
        run_ablations._run("dice_jax.no_such_module")
