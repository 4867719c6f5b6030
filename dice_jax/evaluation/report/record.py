"""The record of an evaluation: `metrics.json` for people and scripts, `samples.npz` to compare with
other records.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization, traverse_util

from dice_jax.errors import UserError
from dice_jax.evaluation import bootstrap, breakdown
from dice_jax.evaluation.sample_labels import Labels
from dice_jax.evaluation.summarize import MetricSums
from dice_jax.io import atomic
from dice_jax.metrics import contact
from dice_jax.metrics.contact import Confusion

METRICS_FILE, SAMPLES_FILE = "metrics.json", "samples.npz"
_SAME = ("data", "split", "samples", "contact_threshold", "reference_leak_filter")


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluation.

    Attributes:
        setting: what was measured, on what and how: weights, data, split, samples, subjects,
            mean_samples, device, devices, batch_size, dtype, contact_threshold, seed, resamples,
            reference_leak_filter.
        summaries: by method, "model" first: `bootstrap.summarize_subjects`.
        groups: of the model: `breakdown.summarize_groups`.
        samples: of the model, first axis N.
        labels: of the samples.
    """

    setting: dict[str, Any]
    summaries: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, dict[str, Any]]]
    samples: MetricSums
    labels: Labels

    @property
    def about(self) -> str:
        """The setting in one sentence; without it no figure means anything."""
        s = self.setting
        constant = f"mean prediction over {s['mean_samples']} training samples"
        filtered = (
            "; distances filtered as in the authors' evaluation"
            if s["reference_leak_filter"]
            else ""
        )
        return (
            f"{s['weights']} on {s['data']} {s['split']}: {s['samples']} samples of {s['subjects']} subjects, "
            f"{s['devices']} x {s['device']}, batch {s['batch_size']}, {s['dtype']}, contact at {s['contact_threshold']}; "
            f"{constant}; no random numbers in predictions; "
            f"[95 % intervals]: bootstrap over subjects, {s['resamples']} draws, seed {s['seed']}{filtered}"
        )


def make(setting: dict[str, Any], samples: dict[str, MetricSums], labels: Labels) -> Record:
    """The record of what was measured.

    Args:
        setting: see `Record`; what follows from the other arguments is added.
        samples: by method, "model" among them, first axis N.
        labels: of the N samples.
    """
    model, subjects = samples["model"], labels.subject
    summaries = {name: bootstrap.summarize_subjects(one, subjects) for name, one in samples.items()}
    kinds = breakdown.groups(model, labels.gesture, labels.skin_tone)
    counted = {
        "samples": len(subjects),
        "subjects": len(np.unique(subjects)),
        "seed": bootstrap.SEED,
        "resamples": bootstrap.RESAMPLES,
        "contact_threshold": contact.THRESHOLD,
    }
    return Record(
        setting | counted,
        summaries,
        breakdown.summarize_groups(model, subjects, kinds),
        model,
        labels,
    )


def save(record: Record, folder: Path) -> None:
    """Writes both files into a folder that is there."""
    content = {
        "about": record.about,
        "setting": record.setting,
        **record.summaries,
        "breakdown": record.groups,
    }
    with atomic.atomic_path(folder / METRICS_FILE) as path:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    arrays = traverse_util.flatten_dict(serialization.to_state_dict(record.samples), sep="/")
    labels = {f"label/{name}": value for name, value in dataclasses.asdict(record.labels).items()}
    with atomic.atomic_path(folder / SAMPLES_FILE) as path:
        np.savez_compressed(path, **arrays, **labels)


def is_record(folder: str | Path) -> bool:
    """Whether an evaluation was written to `folder`."""
    return (Path(folder) / METRICS_FILE).is_file()


def load(folder: str | Path) -> Record:
    """Reads a record back.

    Raises:
        UserError: there is none, or it is damaged or of another version.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / METRICS_FILE).read_text())
        with np.load(folder / SAMPLES_FILE, allow_pickle=False) as file:
            arrays = traverse_util.unflatten_dict(dict(file), sep="/")
        labels = Labels(**arrays.pop("label"))
        counts = {name: Confusion(**arrays.pop(name)) for name in ("hand_contact", "head_contact")}
        setting, groups = content.pop("setting"), content.pop("breakdown")
        del content["about"]
        return Record(setting, content, groups, MetricSums(**arrays, **counts), labels)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no evaluation that can be compared: {error.filename} is not there"
        ) from None
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the evaluation in {folder} is damaged or of another version, evaluate again ({error})"
        ) from None


def check_comparable(records: dict[str, Record]) -> None:
    """Raises a UserError unless all were measured on the same samples in the same way."""
    (first, one), *others = records.items()
    for name, other in others:
        for field in _SAME:
            if one.setting[field] != other.setting[field]:
                raise UserError(
                    f"cannot compare: {field} is {one.setting[field]} in {first} and {other.setting[field]} in {name}; "
                    "evaluate both alike"
                )
        if not np.array_equal(one.labels.subject, other.labels.subject):
            raise UserError(
                f"cannot compare: {first} and {name} saw different people in {one.setting['split']}"
            )
