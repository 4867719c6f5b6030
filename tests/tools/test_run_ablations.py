"""The ablation tool: which programs it runs, when it runs none, and what it reports."""

import importlib
import json
from pathlib import Path

import pytest
from support.command_line import exit_code

from dice_jax.errors import UserError
from dice_jax.tools import run_ablations

PARTS = ("head", "hand")
SUMMARY = {
    "pve_mm": 12.3,
    "mpjpe_mm": 14.0,
    "pa_mpjpe_mm": 9.0,
    "f_score": 0.5,
    "contact": {
        part: dict.fromkeys(("f1", "precision", "recall", "accuracy"), 0.25) for part in PARTS
    },
}
SETTING = {
    "data": "hand_face_synth",
    "split": "test",
    "samples": 512,
    "devices": 1,
    "device": "abacus",
    "dtype": "float32",
}
DATA = {"name": "hand_face_synth", "dir": "", "sizes": {"train": 64}}


class FakePrograms:
    """Records the programs to run and writes the files that they would write."""

    def __init__(self):
        self.calls = []

    def __call__(self, module, *words):
        self.calls.append((module, words))
        options = dict(word.removeprefix("--").split("=", 1) for word in words)
        if module == "dice_jax.train":
            folder = Path(options["workdir"])
            lines = [{"step": step, "images_per_second": 16.0} for step in (100, 200)]
            (folder / "config.json").write_text(json.dumps({"batch_size": 8, "data": DATA}))
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / "metrics.jsonl").write_text(text)
        else:
            folder = Path(options["out"])
            folder.mkdir(exist_ok=True)
            content = {"setting": SETTING, "model": SUMMARY}
            (folder / "metrics.json").write_text(json.dumps(content))

    @property
    def trainings(self):
        return [words for module, words in self.calls if module == "dice_jax.train"]


@pytest.fixture
def programs():
    return FakePrograms()


@pytest.fixture
def run(programs, tmp_path):
    """Runs the tool on the given rows, with an equal budget unless given."""

    def run(rows, *words, steps=200):
        argv = [f"--rows={rows}", f"--steps={steps}", f"--out={tmp_path}", *words]
        run_ablations.main(argv, programs)

    return run


def test_rows_share_the_budget_and_have_their_own_configuration(run, programs, tmp_path, capsys):
    run("full,metro", "--seed=3", "--config.batch_size=8")
    assert [words[0] for words in programs.trainings] == ["--config=small", "--config=metro:small"]
    fields = {"--config.batch_size=8", "--config.seed=3", "--config.total_steps=200"}
    assert all(set(words[2:]) == fields for words in programs.trainings)
    report = (tmp_path / "ablations.md").read_text()
    assert report == capsys.readouterr().out.split("200 steps\n")[-1][: len(report)]
    for words in (
        *("200 steps of batch 8", "64 training images of hand_face_synth", "seed 3"),
        *("config `small`", "1 x abacus", "512 samples", "DICE 0.03 h", "| METRO* | 12.3"),
        "--config.batch_size=8",
    ):
        assert words in report


def test_finished_rows_are_skipped_and_interrupted_ones_resume(run, programs, tmp_path):
    run("full")
    programs.calls.clear()
    run("full,no_params")
    assert [words[1] for words in programs.trainings] == [f"--workdir={tmp_path / 'no_params'}"]
    (tmp_path / "no_params/test/metrics.json").unlink()
    programs.calls.clear()
    run("no_params")
    assert [module for module, _ in programs.calls] == ["dice_jax.train", "dice_jax.evaluate"]


def test_rows_of_different_budgets_do_not_mix(run):
    run("full")
    with pytest.raises(UserError, match="another budget"):
        run("full", steps=300)


def test_every_row_with_a_title_has_a_configuration():
    titled = list(run_ablations.TITLES)
    assert run_ablations.parse([f"--rows={','.join(titled)}", "--steps=1"])[0].rows == titled
    for row in set(titled) - {"full", "no_in_the_wild"}:
        assert importlib.import_module(f"configs.{row}").get_config("tiny")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows=fulll", "--steps=1"], "no row called fulll"),
        (["--steps=0"], "at least 1"),
        (["--steps=1", "--stops=1"], "--stops=1 is neither"),
    ],
)
def test_wrong_options_are_named(words, message, capsys):
    assert exit_code(run_ablations.main, words) == 2
    assert message in capsys.readouterr().err


def test_a_failing_program_ends_the_tool():
    with pytest.raises(UserError, match=r"no_such_module ended with 1"):
        run_ablations.run_module("dice_jax.no_such_module")
