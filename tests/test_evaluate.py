"""The command line: evaluations, comparisons, and what is said when something is wrong."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from support import micro_run
from support.tiny_model import save_tiny_weights

from dice_jax import evaluate
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.evaluation.report import record
from dice_jax.io import atomic


@pytest.fixture(scope="module", autouse=True)
def random_samples():
    """The data set of random samples; its splits have other people and other sizes."""
    sizes = {"test": 3, "train": 4, "validation": 2}
    split = lambda folder, name, size: micro_run.RandomSource(sizes[name], 100 * len(name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "DATASETS", {**registry.DATASETS, micro_run.NAME: split})
        flags.FLAGS.mark_as_parsed()
        yield


def run(out, *args, **values):
    """`evaluate.main` on the random samples; `args` as on the command line, behind --compare or
    alone.
    """
    values = {"data": micro_run.NAME, "batch_size": 2, "cases": 0, "out": str(out)} | values
    with flagsaver.flagsaver(**values):
        evaluate.main(["evaluate", *args])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return [str(save_tiny_weights(tmp_path_factory.mktemp("weights"), seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def evaluations(weights, tmp_path_factory):
    """Folders of two evaluations, the first with pictures."""
    folders = [tmp_path_factory.mktemp("evaluation") for _ in weights]
    for folder, one, count in zip(folders, weights, (1, 0)):
        run(folder, weights=one, cases=count)
    return folders


def test_figures_tables_and_record_agree(evaluations, weights):
    figures = json.loads((evaluations[0] / "metrics.json").read_text())
    setting = figures["setting"]
    assert (setting["samples"], setting["subjects"], setting["mean_samples"]) == (3, 3, 4)
    assert (setting["weights"], setting["split"], setting["dtype"]) == (
        weights[0],
        "test",
        "float32",
    )
    assert (
        setting["devices"] == setting["batch_size"] == 8
    )  # rounded up, so that every device has work
    for name in ("model", "mean_prediction"):
        row = figures[name]
        assert row["frames"] == 3
        low, high = row["intervals"]["pve_mm"]
        assert low <= row["pve_mm"] <= high
        assert {"f1", "precision", "recall", "accuracy", "average_precision"} == set(
            row["contact"]["hand"]
        )
    tables = (evaluations[0] / "tables.md").read_text()
    assert (
        f"{figures['model']['pve_mm']:.2f} [" in tables
        and "3 samples of 3 subjects" in tables
        and "seed 0" in tables
    )
    assert set(figures["breakdown"]) <= {"touch", "skin tone", "gesture"}
    assert figures["breakdown"]["gesture"]["none"]["pve_mm"] == figures["model"]["pve_mm"]
    loaded = record.load(evaluations[0])
    assert 1000 * np.mean(loaded.samples.pve) == pytest.approx(figures["model"]["pve_mm"])
    assert sorted(loaded.labels.subject) == [400, 401, 402]


def test_the_report_shows_the_worst_and_the_median_case(evaluations):
    with_pictures, without = ((folder / "report.html").read_text() for folder in evaluations)
    assert with_pictures.count("data:image/jpeg;base64,") == 2 and "data:image" not in without
    assert "The worst cases" in with_pictures and "The median cases" in with_pictures
    worst = int(np.argmax(record.load(evaluations[0]).samples.pve))
    assert f"Sample {worst}" in with_pictures.split("The worst cases")[1]


def test_a_comparison_tells_the_paired_difference(evaluations, tmp_path, capsys):
    first, second = map(str, evaluations)
    run(tmp_path, second, compare=first, cases=1)
    figures = json.loads((tmp_path / "comparison.json").read_text())
    values = [
        json.loads((folder / "metrics.json").read_text())["model"]["pve_mm"]
        for folder in evaluations
    ]
    difference = figures["differences"][Path(second).name]
    assert difference["pve_mm"] == pytest.approx(values[1] - values[0])
    low, high = difference["intervals"]["pve_mm"]
    assert low <= difference["pve_mm"] <= high
    printed = capsys.readouterr().out
    assert (
        f"{difference['pve_mm']:+.2f} [" in printed
        and printed == (tmp_path / "tables.md").read_text() + "\n"
    )
    assert (
        "data:image/jpeg" in (tmp_path / "report.html").read_text()
    )  # three samples: they differ somewhere


def test_weights_among_the_compared_are_evaluated_first_and_again_agree_to_the_bit(
    evaluations, weights, tmp_path
):
    run(tmp_path, weights[0], compare=str(evaluations[0]))
    differences = json.loads((tmp_path / "comparison.json").read_text())["differences"][
        Path(weights[0]).name
    ]
    assert differences["pve_mm"] == 0 and differences["intervals"]["pve_mm"] == [0, 0]
    again = record.load(tmp_path / f"1_{Path(weights[0]).name}")
    jax.tree.map(np.testing.assert_array_equal, again.samples, record.load(evaluations[0]).samples)


def test_a_comparison_without_its_weights_has_no_pictures_and_says_so(
    evaluations, tmp_path, capsys
):
    lost = record.load(evaluations[1])
    lost.setting["weights"] = str(tmp_path / "deleted")
    record.save(lost, atomic.writable_folder(tmp_path / "lost"))
    run(tmp_path / "out", str(tmp_path / "lost"), compare=str(evaluations[0]), cases=1)
    assert "no pictures: no weights called" in capsys.readouterr().out
    assert "data:image" not in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    "field, value",
    [("split", "validation"), ("samples", 2), ("data", "decaf"), ("reference_leak_filter", True)],
)
def test_evaluations_of_different_things_are_not_compared(evaluations, tmp_path, field, value):
    other = record.load(evaluations[1])
    other.setting[field] = value
    record.save(other, atomic.writable_folder(tmp_path / "other"))
    with pytest.raises(UserError, match=f"cannot compare: {field} is .* and {value} in "):
        run(tmp_path / "out", str(tmp_path / "other"), compare=str(evaluations[0]))


def test_what_a_user_can_mend_is_one_clear_line(evaluations, tmp_path):
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


def test_labels_of_the_open_models_do_not_judge_licensed_ones(tmp_path):
    weights = save_tiny_weights(tmp_path / "weights")
    config = json.loads((weights / "config.json").read_text())
    name = lambda **models: (weights / "config.json").write_text(
        json.dumps(config | {"body_models": models})
    )
    name(hand="", head=None)
    with flagsaver.flagsaver(data="hand_face_synth"):
        evaluate.check_bodies(str(weights))
    name(hand="mano_right", head="flame")
    with pytest.raises(
        UserError, match="puts out flame and mano_right, hand_face_synth is made of the open models"
    ):
        run(tmp_path, weights=str(weights), data="hand_face_synth", data_dir=str(tmp_path))


def test_a_damaged_record_is_one_clear_line(evaluations, tmp_path):
    for name in ("metrics.json", "samples.npz"):
        (tmp_path / name).write_bytes((evaluations[0] / name).read_bytes()[:-200])
        with pytest.raises(UserError, match="evaluate again"):
            record.load(tmp_path)
        (tmp_path / name).write_bytes((evaluations[0] / name).read_bytes())
    assert record.load(tmp_path).setting == record.load(evaluations[0]).setting
