"""Measures trained weights on a split: the paper's tables 1 to 3 and what they hide, with 95 %
intervals.

  python -m dice_jax.evaluate --weights=default --data=hand_face_synth --split=test --out=runs/test
  python -m dice_jax.evaluate --compare runs/a/test runs/b/test --out=runs/a_b

The first writes metrics.json (`model`, and `mean_prediction`: what the best constant answer
scores), tables.md, which is also printed, report.html, which holds its pictures, and samples.npz.
The second sets evaluations side by side, the others against the first, with intervals of the paired
differences; weights among them are evaluated first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from tqdm import tqdm

from dice_jax import errors, inference, xla_flags
from dice_jax.checkpoints import config_file, shipped
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.evaluation import measure, sample_labels
from dice_jax.evaluation.report import cases, comparison, page, record, tables
from dice_jax.evaluation.report.record import Record
from dice_jax.input_pipeline import loader
from dice_jax.io import atomic
from dice_jax.structs import Batch

_WEIGHTS = flags.DEFINE_string(
    "weights", "default", "Shipped weights by name, an exported folder, or a workdir."
)
_COMPARE = flags.DEFINE_string(
    "compare", None, "Folders of evaluations, or weights, two or more: --compare A B."
)
_DATA = flags.DEFINE_string("data", "hand_face_synth", "Data set.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where data sets lie. Default: $DICE_DATA or ~/.cache/dice_jax."
)
_SPLIT = flags.DEFINE_string("split", "test", "Split to measure.")
_OUT = flags.DEFINE_string("out", None, "Folder of the results.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "Images at a time; no figure depends on it.", lower_bound=1
)
_MAX_SAMPLES = flags.DEFINE_integer(
    "max_samples", None, "Measure no more than the first so many.", lower_bound=1
)
_MEAN_SAMPLES = flags.DEFINE_integer(
    "mean_samples",
    1000,
    "The mean prediction is the mean of the first so many training samples.",
    lower_bound=1,
)
_CASES = flags.DEFINE_integer(
    "cases", 4, "Worst cases, and median cases, drawn in the report.", lower_bound=0
)
_LEAK_FILTER = flags.DEFINE_bool(
    "reference_leak_filter",
    False,
    "Set signed distances of 5 cm and more to 0, as the authors do: wrong, but theirs.",
)


def main(argv: Sequence[str]) -> None:
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    out = atomic.writable_folder(_OUT.value)
    if _COMPARE.value is not None:
        compare([_COMPARE.value, *argv[1:]], out)
    elif argv[1:]:
        raise UserError(
            f"unknown argument {argv[1]!r}: every option begins with --, and --help lists them"
        )
    else:
        evaluate(_WEIGHTS.value, out)


def evaluate(weights: str, out: Path) -> Record:
    """Measures `weights` as the flags say, writes everything to `out` and prints the tables."""
    ################ Weights and data ################
    check_bodies(weights)
    model = inference.load(weights)
    source = sample_labels.LabeledSource(
        registry.open_split(_DATA.value, _SPLIT.value, _DATA_DIR.value)
    )
    train = registry.open_split(_DATA.value, "train", _DATA_DIR.value, _MEAN_SAMPLES.value)
    count, mean_count = (
        min(len(source), _MAX_SAMPLES.value or len(source)),
        min(len(train), _MEAN_SAMPLES.value),
    )
    devices = jax.local_device_count()
    batch_size = -(-_BATCH_SIZE.value // devices) * devices

    def batches(split: loader.Source, limit: int, title: str) -> Iterator[tuple[Batch, np.ndarray]]:
        return tqdm(
            loader.sequential_batches(split, batch_size, limit),
            title,
            -(-limit // batch_size),
            unit="batch",
        )

    ################ The model, and the best constant answer ################
    bodies = model.hand_model, model.head_model
    constant = measure.mean_prediction(
        batches(train, mean_count, "mean of the training split"), *bodies
    )
    repeat = lambda batch: jax.tree.map(
        lambda x: jnp.broadcast_to(x, (len(batch.images), *x.shape)), constant
    )
    samples = {
        name: measure.measure_split(
            predict,
            batches(source, count, title),
            *bodies,
            reference_leak_filter=_LEAK_FILTER.value,
        )
        for name, title, predict in (
            ("model", "model", measure.predictor(model)),
            ("mean_prediction", "mean prediction", repeat),
        )
    }

    ################ Tables and report ################
    setting = {
        "weights": weights,
        "data": _DATA.value,
        "split": _SPLIT.value,
        "mean_samples": mean_count,
        "device": jax.devices()[0].device_kind,
        "devices": devices,
        "batch_size": batch_size,
        "dtype": model.module.config.dtype,
        "reference_leak_filter": _LEAK_FILTER.value,
    }
    result = record.make(setting, samples, source.labels(count))
    record.save(result, out)
    rows = page.titled(result.summaries)
    write_tables(
        out,
        result.about,
        [
            tables.mesh_table(rows),
            tables.contact_table(rows),
            tables.parts_table(rows),
            tables.detail_table(rows),
            *(tables.breakdown_table(kind, groups) for kind, groups in result.groups.items()),
        ],
    )
    chosen = cases.worst_and_median(result.samples, _CASES.value)
    models = {"prediction": (model, result)}
    pictures = {
        f"The {name} cases": draw(indices, models, source) for name, indices in chosen.items()
    }
    (out / "report.html").write_text(page.evaluation_page(result, pictures))
    return result


def check_bodies(weights: str) -> None:
    """Raises a UserError where `weights` speak of other body models than the labels: no figure
    would mean anything.
    """
    named = config_file.load_config(shipped.weights_folder(weights)).get("body_models") or {}
    bodies = {part: name for part, name in named.items() if name}  # without a name: the open ones
    if bodies and _DATA.value == registry.OPEN:
        names = " and ".join(sorted(bodies.values()))
        raise UserError(
            f"{weights} puts out {names}, {registry.OPEN} is made of the open models: measure on --data=decaf"
        )
    data = {"name": _DATA.value, "dir": _DATA_DIR.value, "priors": ""}
    registry.require(ConfigDict(data), bodies)


def compare(runs: Sequence[str], out: Path) -> None:
    """Sets evaluations side by side, writes tables.md, comparison.json and report.html and prints
    the tables.
    """
    if len(set(runs)) < max(2, len(runs)):
        raise UserError(
            "--compare needs two or more different folders of evaluations, or weights: --compare A B"
        )
    records = {}
    for number, (name, run) in enumerate(zip(comparison.short_names(runs), runs)):
        if record.is_record(run):
            records[name] = record.load(run)
        else:
            print(f"{run}: no evaluation, so these weights are measured first")
            records[name] = evaluate(
                run, atomic.writable_folder(out / f"{number}_{Path(run).name}")
            )
    record.check_comparable(records)

    first, *others = records
    differences = {name: comparison.difference(records[first], records[name]) for name in others}
    summaries = {name: one.summaries["model"] for name, one in records.items()}
    about = "\n\n".join(f"{name}: {one.about}" for name, one in records.items())
    write_tables(
        out,
        about,
        [
            tables.ablation_table(summaries),
            tables.difference_table(first, differences),
            tables.mesh_table(summaries),
            tables.contact_table(summaries),
            tables.parts_table(summaries),
            tables.detail_table(summaries),
        ],
    )
    content = {"about": about, "runs": summaries, "differences": differences}
    (out / "comparison.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    (out / "report.html").write_text(
        page.comparison_page(records, differences, draw_differences(records))
    )


def draw_differences(records: dict[str, Record]) -> dict[str, list[cases.Case]]:
    """The cases in which the first two differ most; none, with a line that says why, where they
    cannot be predicted.
    """
    first, second = list(records)[:2]
    chosen = cases.most_different(records[first].samples, records[second].samples, _CASES.value)
    setting = records[first].setting
    try:
        models = {
            name: (inference.load(records[name].setting["weights"]), records[name])
            for name in (first, second)
        }
        source = registry.open_split(setting["data"], setting["split"], _DATA_DIR.value)
    except (ValueError, OSError) as error:
        print(f"no pictures: {error}")
        return {}
    return {
        f"{second} is {how} than {first}": draw(indices, models, source)
        for how, indices in chosen.items()
    }


def draw(
    indices: np.ndarray, models: dict[str, tuple[inference.Model, Record]], source: loader.Source
) -> list[cases.Case]:
    """Pictures of the samples `indices` of `source`, with what each of the models, by name, makes
    of them.
    """
    drawn = []
    for index in tqdm(indices, "pictures", unit="case"):
        ((batch, _),) = loader.sequential_batches([source[int(index)]], 1)
        predict = lambda model, batch=batch: jax.device_get(inference.infer(model, batch.images[0]))
        answers = {name: predict(model) for name, (model, _) in models.items()}
        one, result = next(iter(models.values()))
        truth = measure.true_prediction(batch, one.hand_model, one.head_model)
        picture = cases.case_picture(
            batch.images[0],
            answers,
            jax.tree.map(lambda x: np.asarray(x)[0], truth),
            np.concatenate([batch.hand_keypoints_2d[0], batch.head_keypoints_2d[0]]),
            np.asarray(one.hand_model.faces),
            np.asarray(one.head_model.faces),
        )
        figures = "; ".join(
            f"{name} {cases.describe(other.samples, index)}" for name, (_, other) in models.items()
        )
        drawn.append(
            cases.Case(
                f"Sample {index}",
                f"{cases.describe_labels(result.labels, index)}; {figures}",
                picture,
            )
        )
    return drawn


def write_tables(out: Path, about: str, made: Sequence[tables.Table]) -> None:
    """Writes tables.md and prints it."""
    text = "\n".join([about + "\n", *map(str, made)])
    (out / "tables.md").write_text(text)
    print(text)


def cli() -> None:
    """The console script `dice-evaluate`."""
    # Not at import time: other programs import this module without giving this flag.
    flags.mark_flags_as_required(["out"])
    errors.run(main, absl_flags=True)


if __name__ == "__main__":
    cli()
