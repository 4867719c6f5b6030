"""Measures trained weights on a split: the metrics of the paper and more, with 95 % intervals.

  python -m dice_jax.evaluate
  python -m dice_jax.evaluate --limit=64
  python -m dice_jax.evaluate --weights=runs/full --data=decaf --predictions=Decaf=FOLDER
  python -m dice_jax.evaluate --tables=runs/ablations
  python -m dice_jax.evaluate --compare runs/a/test runs/b/test --out=runs/a_b

The first command measures the default weights on the open test split, which it builds where it is
missing; --limit builds and measures the first samples only. It writes metrics.json, tables.md (also
printed), report.html (self-contained) and samples.npz (metrics of each sample, for comparisons).
Beside the model it measures the mean prediction: the mean of the training labels, the best
prediction that ignores the image. --predictions adds rows for the results of other programs, see
`evaluation.prediction_files`.

--tables prints the three tables of the paper from the rows of `dice_jax.tools.run_ablations`, with
the published figures set apart.

--compare compares evaluations with the first one, with intervals of the paired differences. It also
accepts weights and evaluates them first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from tqdm import tqdm

from dice_jax import errors, inference, xla_flags
from dice_jax.body_models import assets
from dice_jax.body_models.lbs import BodyModel
from dice_jax.checkpoints import config_file, shipped
from dice_jax.datasets import hand_face_synth, registry
from dice_jax.errors import UserError
from dice_jax.evaluation import (
    fit_rows,
    mean_file,
    measure,
    prediction_files,
    reference_predictions,
    timing,
)
from dice_jax.evaluation.report import cases, comparison, page, record, tables
from dice_jax.evaluation.report import paper_tables as report_tables
from dice_jax.evaluation.report.record import Record
from dice_jax.evaluation.sample_labels import LabeledSource
from dice_jax.evaluation.summarize import ReferenceChoices
from dice_jax.input_pipeline import loader
from dice_jax.io import atomic
from dice_jax.structs import Batch, Prediction

_WEIGHTS = flags.DEFINE_string(
    "weights",
    "default",
    "Weights to measure: the name of shipped ones, an exported folder, or a training workdir.",
)
_COMPARE = flags.DEFINE_string(
    "compare", None, "Two or more folders of evaluations (or weights) to compare: --compare A B."
)
_TABLES = flags.DEFINE_string(
    "tables",
    None,
    "Folder of dice_jax.tools.run_ablations: print the paper's Tables 1, 2 and 3 from its rows.",
)
_DATA = flags.DEFINE_string("data", "hand_face_synth", "Data set.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data sets. Default: $DICE_DATA or ~/.cache/dice_jax."
)
_SPLIT = flags.DEFINE_string("split", "test", "Split to measure.")
_OUT = flags.DEFINE_string(
    "out", None, "Folder for the results. Default: the folder `evaluation` of the weights' run."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "Images processed at a time; no metric depends on it.", lower_bound=1
)
_LIMIT = flags.DEFINE_integer(
    "limit",
    None,
    "Build and measure only this many samples, the first of the split.",
    lower_bound=1,
)
_MEAN_SAMPLES = flags.DEFINE_integer(
    "mean_samples",
    None,
    "Training samples averaged for the mean prediction. Default: the mean that comes with the "
    "package for the open data, else 1000.",
    lower_bound=1,
)
_PREDICTIONS = flags.DEFINE_list(
    "predictions",
    [],
    "Also measure folders of other programs' results, a row for each: FOLDER or NAME=FOLDER.",
)
_CASES = flags.DEFINE_integer(
    "cases", 4, "Images in each section of sample images in the report.", lower_bound=0
)
_FIT = flags.DEFINE_list(
    "fit",
    [],
    "Also measure the network and the fit to detected landmarks together, a row for each: "
    "'keypoints': the true keypoints under the errors of landmark networks on photographs; "
    "'detected': what the landmark networks find in the pictures. Networks that see landmarks get "
    "a row without the fit too. With :benchmark behind it the fit does not see the network, with "
    ":pixie it only starts from it, with :decaf (default) contacts and deformations guide it. "
    "Example: --fit=keypoints,keypoints:benchmark,detected.",
)
_LEAK_FILTER = flags.DEFINE_bool(
    "reference_leak_filter",
    False,
    "Set signed distances of 5 cm and more to 0, as the authors' evaluation does. This hides deep "
    "collisions, so use it only to compare with published numbers.",
)
_FINGER_TIPS = flags.DEFINE_bool(
    "reference_finger_tips",
    False,
    "Move the keypoints at the finger tips to 0.7 of the last bone before they are measured, as "
    "the authors' evaluation does. Errors of keypoints get smaller, so use it only to compare with "
    "published numbers.",
)


def main(argv: Sequence[str], *, datasets: registry.Datasets = registry.DATASETS) -> None:
    """Evaluates or compares, as the flags say; `datasets` are those that --data may use."""
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    given = _OUT.value
    if given is None and _TABLES.value is not None:
        given = _TABLES.value
    elif given is None and _COMPARE.value is None:
        given = default_out(_WEIGHTS.value)
    if given is None or not str(given).strip():
        raise UserError("--out is empty: give the folder of the results")
    out = atomic.writable_folder(given)
    if _TABLES.value is not None:
        paper_tables(Path(_TABLES.value), out)
    elif _COMPARE.value is not None:
        compare([_COMPARE.value, *argv[1:]], out, datasets)
    elif argv[1:]:
        raise UserError(f"unknown argument {argv[1]!r}: flags begin with --, see --help")
    else:
        evaluate(_WEIGHTS.value, out, datasets)


def evaluate(weights: str, out: Path, datasets: registry.Datasets) -> Record:
    """Measures weights with the options of the flags, writes all files and prints the tables.

    Args:
        weights: as for `inference.load`.
        out: an existing folder.
        datasets: the data sets that --data may use.
    """
    ################ Model and data ################
    check_body_models(weights, datasets)
    model = inference.load(weights)
    bodies = label_bodies(weights, model)
    print(f"measures {weights} on {_DATA.value} {_SPLIT.value}", flush=True)
    source = LabeledSource(open_split(_SPLIT.value, datasets, _LIMIT.value))
    count = min(len(source), _LIMIT.value or len(source))
    devices = jax.local_device_count()
    batch_size = -(-_BATCH_SIZE.value // devices) * devices

    ################ Measure the model and the mean prediction ################
    mean, mean_count = mean_of_training(datasets, batch_size, bodies)
    predictors = {
        "model": measure.predictor(model),
        **fit_rows.predictors(_FIT.value, model, bodies, rendered=_DATA.value == registry.OPEN),
        **{
            name: prediction_files.predictor(folder, source.name, count, *bodies)
            for name, folder in prediction_folders().items()
        },
        "mean_prediction": lambda batch: reference_predictions.repeat(mean, len(batch.images)),
    }
    samples = {
        name: measure.measure_split(
            predict,
            read_batches(source, batch_size, count, name.replace("_", " ")),
            *bodies,
            reference=ReferenceChoices(_LEAK_FILTER.value, _FINGER_TIPS.value),
        )
        for name, predict in predictors.items()
    }

    ################ Record, tables and report ################
    setting = {
        "weights": weights,
        "data": _DATA.value,
        "split": _SPLIT.value,
        "mean_samples": mean_count,
        "device": jax.devices()[0].device_kind,
        "devices": devices,
        "batch_size": batch_size,
        "dtype": model.module.config.dtype,  # pyright: ignore[reportAttributeAccessIssue]
        "reference_leak_filter": _LEAK_FILTER.value,
        "reference_finger_tips": _FINGER_TIPS.value,
    }
    result = record.make(setting, samples, source.labels(count))
    for name, predict in predictors.items():
        result.summaries[name]["type"] = kind_of(name)
        if kind_of(name) != "–":
            result.summaries[name] |= timing.seconds_per_image(predict, source)
    for name, folder in prediction_folders().items():
        told = prediction_files.has_contacts(folder, source.name(0))
        result.summaries[name] = prediction_files.told_only(result.summaries[name], told)
    chosen = cases.worst_and_median(result.samples, _CASES.value)
    images = {
        f"The {name} cases": cases.draw(indices, {"prediction": (model, result)}, source)
        for name, indices in chosen.items()
    }
    rows = page.readable_names(result.summaries)
    # Together, and nothing else: a data set that is built keeps the files it has finished.
    with atomic.together():
        record.save(result, out)
        mean_file.save(out / mean_file.FILE, mean, data_version(), mean_count)
        write_tables(
            out,
            result.about,
            tables.method_table(rows),
            tables.contact_table(rows),
            tables.parts_table(rows),
            tables.detail_table(rows),
            tables.trust_table(rows),
            *(tables.breakdown_table(kind, groups) for kind, groups in result.groups.items()),
        )
        atomic.write_text(out / "report.html", page.evaluation_page(result, images))
    return result


def kind_of(row: str) -> str:
    """R: a network alone; O: with optimization; –: files of other programs, or a constant."""
    if row == "mean_prediction" or row in prediction_folders():
        return "–"
    return "O" if row.startswith("model_fit_") else "R"


def paper_tables(runs: Path, out: Path) -> None:
    """Writes and prints the paper's three tables from the runs of `dice_jax.tools.run_ablations`.

    Args:
        runs: its folder, with an evaluation in ROW/test for each row.
        out: an existing folder.

    Raises:
        UserError: there is no evaluation, or two of them measured different samples.
    """
    records = {
        row: record.load(runs / row / "test")
        for row in report_tables.TITLES
        if record.is_record(runs / row / "test")
    }
    if not records:
        raise UserError(
            f"{runs} holds no evaluation of a row, such as {runs / 'full/test'}: make them with "
            "python -m dice_jax.tools.run_ablations"
        )
    record.check_comparable(records)
    about = "\n\n".join(f"{row}: {one.about}" for row, one in records.items())
    text = report_tables.document(about, {row: one.summaries for row, one in records.items()})
    atomic.write_text(out / "paper_tables.md", text)
    print(text)


def default_out(weights: str) -> Path:
    """The folder of results without --out: `evaluation` in the workdir of the weights' run."""
    shipped_name = str(weights).isidentifier() and not Path(weights).is_dir()
    return (Path("runs") / weights if shipped_name else Path(weights)) / "evaluation"


def mean_of_training(
    datasets: registry.Datasets, batch_size: int, bodies: tuple[BodyModel, BodyModel]
) -> tuple[Prediction, int]:
    """The mean prediction and the number of its samples.

    That of the open data comes with the package, since to render images for it takes long.
    """
    path = shipped.weights_folder("default") / mean_file.FILE
    found = mean_file.load(path, data_version()) if _MEAN_SAMPLES.value is None else None
    if found is not None:
        return found
    wanted = _MEAN_SAMPLES.value or 1000
    train = open_split("train", datasets, wanted)
    count = min(len(train), wanted)
    batches = read_batches(train, batch_size, count, "mean of the training split")
    return reference_predictions.mean_prediction(batches, *bodies), count


def data_version() -> str:
    """Name of the data set of the flags, with the version of the open one."""
    version = f" {hand_face_synth.HandFaceSynth.VERSION}" if _DATA.value == registry.OPEN else ""
    return _DATA.value + version


def prediction_folders() -> dict[str, Path]:
    """The folders of --predictions by the name of their row."""
    folders = {}
    for word in _PREDICTIONS.value:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word).expanduser()
        name = name if equals else path.name
        if not name or name in ("model", "mean_prediction") or name in folders:
            raise UserError(
                f"--predictions={word}: give each folder a name of its own, NAME=FOLDER"
            )
        folders[name] = path
    return folders


def compare(runs: Sequence[str], out: Path, datasets: registry.Datasets) -> None:
    """Compares evaluations with the first one, writes all files and prints the tables.

    Args:
        runs: folders of evaluations, or weights, which are evaluated first.
        out: an existing folder.
        datasets: the data sets that --data may use.
    """
    ################ Read or measure each run ################
    if len(set(runs)) < max(2, len(runs)):
        raise UserError(
            "--compare needs two or more different folders of evaluations, or weights: "
            "--compare A B"
        )
    records = {}
    for number, (name, run) in enumerate(zip(comparison.short_names(runs), runs)):
        if record.is_record(run):
            records[name] = record.load(run)
        else:
            print(f"{run} holds no evaluation: evaluating these weights first")
            folder = atomic.writable_folder(out / f"{number}_{Path(run).name}")
            records[name] = evaluate(run, folder, datasets)
    record.check_comparable(records)

    ################ Differences, tables and report ################
    first, *others = records
    differences = {name: comparison.difference(records[first], records[name]) for name in others}
    summaries = {name: one.summaries["model"] for name, one in records.items()}
    about = "\n\n".join(f"{name}: {one.about}" for name, one in records.items())
    content = {"about": about, "runs": summaries, "differences": differences}
    images = draw_differences(records, datasets)
    with atomic.together():
        write_tables(
            out,
            about,
            tables.ablation_table(summaries),
            tables.difference_table(first, differences),
            tables.mesh_table(summaries),
            tables.contact_table(summaries),
            tables.parts_table(summaries),
            tables.detail_table(summaries),
            tables.trust_table(summaries),
        )
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        atomic.write_text(out / "comparison.json", text)
        page_text = page.comparison_page(records, differences, images)
        atomic.write_text(out / "report.html", page_text)


def label_bodies(weights: str, model: inference.Model) -> tuple[BodyModel, BodyModel]:
    """The body models of the labels: those of the weights, or today's open hand for an older one.

    All versions of the open hand have the same vertices and faces, so meshes can be compared.
    """
    config: dict[str, Any] = config_file.load_config(shipped.weights_folder(weights)).to_dict()
    if (config.get("body_models") or {}).get("hand") in assets.OPEN_HANDS:
        return assets.load_hand(), model.head_model
    return model.hand_model, model.head_model


def check_body_models(weights: str, datasets: registry.Datasets) -> None:
    """Checks that weights and labels belong to the same body models.

    Raises:
        UserError: they do not, so that vertices do not correspond and no metric is meaningful.
    """
    config: dict[str, Any] = config_file.load_config(shipped.weights_folder(weights)).to_dict()
    # An empty name stands for the open body model.
    names = {
        part: name
        for part, name in (config.get("body_models") or {}).items()
        if name and name not in assets.OPEN_HANDS
    }
    if names and _DATA.value == registry.OPEN:
        raise UserError(
            f"{weights} predicts {' and '.join(sorted(names.values()))}, but the labels of "
            f"{registry.OPEN} belong to the open models: measure on --data=decaf"
        )
    data = {"name": _DATA.value, "dir": _DATA_DIR.value, "priors": ""}
    registry.require(ConfigDict(data), names, datasets)


def open_split(split: str, datasets: registry.Datasets, size: int | None = None) -> loader.Source:
    """A split of the data set of the flags."""
    return registry.open_split(_DATA.value, split, _DATA_DIR.value, size, datasets=datasets)


def read_batches(
    split: loader.Source, batch_size: int, limit: int, title: str
) -> Iterator[tuple[Batch, np.ndarray]]:
    """The first `limit` samples in batches, with a progress bar."""
    batches = loader.sequential_batches(split, batch_size, limit)
    yield from tqdm(batches, title, total=-(-limit // batch_size), unit="batch")


def write_tables(out: Path, about: str, *made: tables.Table) -> None:
    """Writes tables.md and prints it."""
    text = "\n".join([about + "\n", *map(str, made)])
    atomic.write_text(out / "tables.md", text)
    print(text)


def draw_differences(
    records: dict[str, Record], datasets: registry.Datasets
) -> dict[str, list[cases.Case]]:
    """Images of the samples on which the first two runs differ most, by heading.

    Without the weights or the data there are no images, and a printed line gives the reason.
    """
    first, second = list(records)[:2]
    chosen = cases.most_different(records[first].samples, records[second].samples, _CASES.value)
    setting = records[first].setting
    try:
        models = {
            name: (inference.load(records[name].setting["weights"]), records[name])
            for name in (first, second)
        }
        source = registry.open_split(
            setting["data"], setting["split"], _DATA_DIR.value, datasets=datasets
        )
    except (ValueError, OSError) as error:
        print(f"no images in the report: {error}")
        return {}
    return {
        f"{second} is {how} than {first}": cases.draw(indices, models, source)
        for how, indices in chosen.items()
    }


def cli() -> None:
    """The console script `dice-evaluate`."""
    errors.run(main, absl_flags=True)


if __name__ == "__main__":
    cli()
