"""The command line: evaluations, comparisons, and error messages."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from support import micro_run
from support.tiny_model import save_tiny_weights

from dice_jax import evaluate, inference
from dice_jax.body_models import load_hand
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.evaluation.report import record
from dice_jax.io import atomic

SCORES = ("f1", "precision", "recall", "accuracy")
SIZES = {"test": 3, "train": 4, "validation": 2}


def random_split(folder, split, size):
    """Random samples; the splits have different subjects."""
    del folder, size
    return micro_run.RandomSource(SIZES[split], 100 * len(split))


DATASETS = {**registry.DATASETS, micro_run.NAME: random_split}


@pytest.fixture(scope="module", autouse=True)
def parsed_flags():
    flags.FLAGS.mark_as_parsed()


def run(out, *args, **values):
    """Runs `evaluate.main` on random samples with `values` as flags and `args` as other words."""
    values = {"data": micro_run.NAME, "batch_size": 2, "cases": 0, "out": str(out)} | values
    with flagsaver.flagsaver(**values):
        evaluate.main(["evaluate", *args], datasets=DATASETS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return [str(save_tiny_weights(tmp_path_factory.mktemp("weights"), seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def evaluations(weights, tmp_path_factory):
    """Folders of two evaluations, the first with images."""
    folders = [tmp_path_factory.mktemp("evaluation") for _ in weights]
    for folder, one, count in zip(folders, weights, (1, 0)):
        run(folder, weights=one, cases=count)
    return folders


def test_metrics_tables_and_record_agree(evaluations, weights):
    metrics = json.loads((evaluations[0] / "metrics.json").read_text())
    setting = metrics["setting"]
    assert (setting["samples"], setting["subjects"], setting["mean_samples"]) == (3, 3, 4)
    assert setting["weights"] == weights[0]
    assert (setting["split"], setting["dtype"]) == ("test", "float32")
    assert setting["devices"] == setting["batch_size"] == 8  # 2, rounded up to one for each device
    for name in ("model", "mean_prediction"):
        row = metrics[name]
        assert row["frames"] == 3
        low, high = row["intervals"]["pve_mm"]
        assert low <= row["pve_mm"] <= high
        assert set(row["contact"]["hand"]) == {*SCORES, "average_precision", "calibration_error"}
    tables = (evaluations[0] / "tables.md").read_text()
    for text in (f"{metrics['model']['pve_mm']:.2f} [", "3 samples of 3 subjects", "seed 0"):
        assert text in tables
    assert set(metrics["breakdown"]) <= {"touch", "skin tone", "gesture"}
    assert metrics["breakdown"]["gesture"]["none"]["pve_mm"] == metrics["model"]["pve_mm"]
    loaded = record.load(evaluations[0])
    assert 1000 * np.mean(loaded.samples.pve) == pytest.approx(metrics["model"]["pve_mm"])
    assert sorted(loaded.labels.subject) == [400, 401, 402]


def test_the_report_shows_the_worst_and_the_median_case(evaluations):
    with_images, without = ((folder / "report.html").read_text() for folder in evaluations)
    assert with_images.count("data:image/jpeg;base64,") == 2 and "data:image" not in without
    assert "The worst cases" in with_images and "The median cases" in with_images
    worst = int(np.argmax(record.load(evaluations[0]).samples.pve))
    assert f"Sample {worst}" in with_images.split("The worst cases")[1]


def test_a_comparison_reports_the_paired_difference(evaluations, tmp_path, capsys):
    first, second = map(str, evaluations)
    run(tmp_path, second, compare=first, cases=1)
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in evaluations]
    values = [one["model"]["pve_mm"] for one in metrics]
    content = json.loads((tmp_path / "comparison.json").read_text())
    difference = content["differences"][Path(second).name]
    assert difference["pve_mm"] == pytest.approx(values[1] - values[0])
    low, high = difference["intervals"]["pve_mm"]
    assert low <= difference["pve_mm"] <= high
    printed = capsys.readouterr().out
    assert f"{difference['pve_mm']:+.2f} [" in printed
    assert printed == (tmp_path / "tables.md").read_text() + "\n"
    assert "data:image/jpeg" in (tmp_path / "report.html").read_text()


def test_compared_weights_are_evaluated_first_and_repeated_evaluations_are_identical(
    evaluations, weights, tmp_path
):
    """Predictions are deterministic, unlike the authors', whose network masks tokens at random."""
    run(tmp_path, weights[0], compare=str(evaluations[0]))
    name = Path(weights[0]).name
    difference = json.loads((tmp_path / "comparison.json").read_text())["differences"][name]
    assert difference["pve_mm"] == 0 and difference["intervals"]["pve_mm"] == [0, 0]
    again = record.load(tmp_path / f"1_{name}")
    jax.tree.map(np.testing.assert_array_equal, again.samples, record.load(evaluations[0]).samples)


def test_a_comparison_of_deleted_weights_has_no_images_and_prints_the_reason(
    evaluations, tmp_path, capsys
):
    lost = record.load(evaluations[1])
    lost.setting["weights"] = str(tmp_path / "deleted")
    record.save(lost, atomic.writable_folder(tmp_path / "lost"))
    run(tmp_path / "out", str(tmp_path / "lost"), compare=str(evaluations[0]), cases=1)
    assert "no images in the report: no weights called" in capsys.readouterr().out
    assert "data:image" not in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    "field, value",
    [
        ("split", "validation"),
        ("samples", 2),
        ("data", "decaf"),
        ("reference_leak_filter", True),
        ("reference_finger_tips", True),
    ],
)
def test_evaluations_with_different_settings_are_not_compared(evaluations, tmp_path, field, value):
    other = record.load(evaluations[1])
    other.setting[field] = value
    record.save(other, atomic.writable_folder(tmp_path / "other"))
    with pytest.raises(UserError, match=f"cannot compare: {field} is .* and {value} in "):
        run(tmp_path / "out", str(tmp_path / "other"), compare=str(evaluations[0]))


def test_mistakes_of_the_user_are_one_line_errors(evaluations, tmp_path):
    with pytest.raises(UserError, match="two or more different"):
        run(tmp_path, compare=str(evaluations[0]))
    with pytest.raises(UserError, match="unknown argument 'stray'"):
        run(tmp_path, "stray")
    with pytest.raises(FileNotFoundError, match="no weights called"):
        run(tmp_path, str(tmp_path / "nowhere"), compare=str(evaluations[0]))
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="holds no evaluation that can be compared"):
        run(tmp_path, str(tmp_path), compare=str(evaluations[0]))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write to the folder"):
        run(tmp_path / "file")
    with pytest.raises(UserError, match="no split 'tset'"):
        run(tmp_path, data="hand_face_synth", split="tset", data_dir=str(tmp_path))
    with pytest.raises(UserError, match="the labels of decaf belong to flame and mano_right"):
        run(tmp_path, data="decaf", data_dir=str(tmp_path))


def test_weights_of_licensed_body_models_are_not_measured_on_labels_of_the_open_ones(tmp_path):
    weights = save_tiny_weights(tmp_path / "weights")
    config = json.loads((weights / "config.json").read_text())
    name = lambda **models: (weights / "config.json").write_text(
        json.dumps(config | {"body_models": models})
    )
    name(hand="", head=None)
    with flagsaver.flagsaver(data="hand_face_synth"):
        evaluate.check_body_models(str(weights), DATASETS)
    name(hand="mano_right", head="flame")
    message = "predicts flame and mano_right, but the labels of hand_face_synth belong to the open"
    with pytest.raises(UserError, match=message):
        run(tmp_path, weights=str(weights), data="hand_face_synth", data_dir=str(tmp_path))


def test_weights_of_the_older_open_hand_are_measured_on_labels_of_the_present_one(tmp_path):
    weights = save_tiny_weights(tmp_path / "weights")
    config = json.loads((weights / "config.json").read_text())
    config |= {"body_models": {"hand": "open_hand_v1", "head": ""}}
    (weights / "config.json").write_text(json.dumps(config))
    with flagsaver.flagsaver(data="hand_face_synth"):
        evaluate.check_body_models(str(weights), DATASETS)
    model = inference.load(weights)
    assert model.hand_model is load_hand("open_hand_v1")
    hand, head = evaluate.label_bodies(str(weights), model)
    assert hand is load_hand() and head is model.head_model


def test_a_damaged_record_is_a_one_line_error(evaluations, tmp_path):
    for name in ("metrics.json", "samples.npz"):
        (tmp_path / name).write_bytes((evaluations[0] / name).read_bytes()[:-200])
        with pytest.raises(UserError, match="evaluate again"):
            record.load(tmp_path)
        (tmp_path / name).write_bytes((evaluations[0] / name).read_bytes())
    assert record.load(tmp_path).setting == record.load(evaluations[0]).setting


def test_the_paper_s_tables_come_from_the_rows_of_an_ablation_run(evaluations, tmp_path, capsys):
    for row, folder in zip(("full", "metro"), evaluations):
        shutil.copytree(folder, tmp_path / row / "test")
    with flagsaver.flagsaver(tables=str(tmp_path)):
        evaluate.main(["evaluate"])
    text = (tmp_path / "paper_tables.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    measured = text.split("# Published on Decaf")[0]
    for folder, title in zip(evaluations, ("DICE", "METRO*")):
        model = json.loads((folder / "metrics.json").read_text())["model"]
        assert f"| {title} | R | {model['pve_mm']:.2f} [" in measured
        assert (
            f"| {model['seconds_prediction']:.3f} | {model['seconds_end_to_end']:.3f} |" in measured
        )
    with flagsaver.flagsaver(tables=str(tmp_path / "full")), pytest.raises(UserError) as error:
        evaluate.main(["evaluate"])
    assert "run_ablations" in str(error.value)
