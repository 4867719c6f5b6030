"""The record of an evaluation on disk.

`metrics.json` is for people and scripts, `samples.npz` for comparisons with other records.
"""

from __future__ import annotations

import dataclasses
import json
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
from dice_jax.untrusted_files import npz

METRICS_FILE, SAMPLES_FILE = "metrics.json", "samples.npz"
_SETTINGS = (
    *("weights", "data", "split", "samples", "subjects", "mean_samples", "device", "devices"),
    *("batch_size", "dtype", "contact_threshold", "seed", "resamples"),
    *("reference_leak_filter", "reference_finger_tips"),
)
# Settings that must agree for two records to be compared.
_COMPARABLE = (
    *("data", "split", "samples", "contact_threshold"),
    *("reference_leak_filter", "reference_finger_tips"),
)

_PER_SAMPLE = npz.Array(npz.NUMBERS, (None,))
_COUNTS = ("hand_contact", "head_contact")
_HISTOGRAMS = (
    "hand_contact_scores",
    "head_contact_scores",
    "presence_scores",
    "hand_scores",
)
# The arrays of samples.npz.
_SAMPLES = {
    **{
        field.name: _PER_SAMPLE
        for field in dataclasses.fields(MetricSums)
        if field.name not in _COUNTS
    },
    **{
        f"{name}/{field.name}": _PER_SAMPLE
        for name in _COUNTS
        for field in dataclasses.fields(Confusion)
    },
    **{name: npz.Array(npz.NUMBERS, (None, 2, contact.BINS)) for name in _HISTOGRAMS},
    "label/subject": npz.Array(npz.INTEGERS, (None,)),
    "label/gesture": npz.Array(npz.TEXT, (None,)),
    "label/skin_tone": npz.Array(npz.FLOATS, (None,), finite=False),
}


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluation.

    Attributes:
        setting: what was measured and how: weights, data, split, samples, subjects, mean_samples,
            device, devices, batch_size, dtype, contact_threshold, seed, resamples,
            reference_leak_filter, reference_finger_tips.
        summaries: `bootstrap.summarize_subjects` by method, "model" first.
        groups: `breakdown.summarize_groups` of the model.
        samples: measured samples of the model, leading dimension N.
        labels: of the N samples.
    """

    setting: dict[str, Any]
    summaries: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, dict[str, Any]]]
    samples: MetricSums
    labels: Labels

    @property
    def about(self) -> str:
        """The setting in one sentence, without which the numbers cannot be interpreted."""
        s = self.setting
        parts = [
            f"{s['weights']} on {s['data']} {s['split']}: "
            f"{s['samples']} samples of {s['subjects']} subjects, {s['devices']} x {s['device']}, "
            f"batch {s['batch_size']}, {s['dtype']}, contact threshold {s['contact_threshold']}",
            f"mean prediction over {s['mean_samples']} training samples",
            "deterministic predictions",
            f"[95 % intervals]: bootstrap over subjects, {s['resamples']} draws, seed {s['seed']}",
        ]
        if s["reference_leak_filter"]:
            parts.append("signed distances filtered as in the authors' evaluation")
        if s["reference_finger_tips"]:
            parts.append("finger tips at 0.7 of the last bone as in the authors' evaluation")
        return "; ".join(parts)


def make(setting: dict[str, Any], samples: dict[str, MetricSums], labels: Labels) -> Record:
    """Summarizes measured samples.

    Args:
        setting: see `Record`, without the entries that follow from the other arguments.
        samples: measured samples by method, "model" among them, leading dimension N.
        labels: of the N samples.
    """
    model, subjects = samples["model"], labels.subject
    kinds = breakdown.groups(model, labels.gesture, labels.skin_tone)
    derived = {
        "samples": len(subjects),
        "subjects": len(np.unique(subjects)),
        "seed": bootstrap.SEED,
        "resamples": bootstrap.RESAMPLES,
        "contact_threshold": contact.THRESHOLD,
    }
    return Record(
        setting=setting | derived,
        summaries={
            name: bootstrap.summarize_subjects(one, subjects) for name, one in samples.items()
        },
        groups=breakdown.summarize_groups(model, subjects, kinds),
        samples=model,
        labels=labels,
    )


def save(record: Record, folder: Path) -> None:
    """Writes both files into an existing folder."""
    content = {
        "about": record.about,
        "setting": record.setting,
        **record.summaries,
        "breakdown": record.groups,
    }
    atomic.write_text(folder / METRICS_FILE, json.dumps(content, indent=2, allow_nan=False) + "\n")
    state = serialization.to_state_dict(record.samples)
    arrays: dict[str, Any] = traverse_util.flatten_dict(state, sep="/")
    labels = {f"label/{name}": value for name, value in dataclasses.asdict(record.labels).items()}
    with atomic.atomic_path(folder / SAMPLES_FILE) as path:
        np.savez_compressed(path, **arrays, **labels)


def is_record(folder: str | Path) -> bool:
    """Whether `folder` holds an evaluation."""
    return (Path(folder) / METRICS_FILE).is_file()


def load(folder: str | Path) -> Record:
    """Reads a record.

    Raises:
        UserError: a file is missing, damaged, or was written by another version.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / METRICS_FILE).read_text())
        found = npz.read_npz(
            folder / SAMPLES_FILE,
            _SAMPLES,
            what="the samples of an evaluation",
            remedy="evaluate again",
        )
        if len({len(array) for array in found.values()}) != 1:
            raise UserError("its arrays have different lengths")
        arrays: dict[str, Any] = traverse_util.unflatten_dict(found, sep="/")
        labels = Labels(**arrays.pop("label"))
        counts: dict[str, Any] = {
            name: Confusion(**arrays.pop(name)) for name in ("hand_contact", "head_contact")
        }
        del content["about"]
        setting, groups = content.pop("setting"), content.pop("breakdown")
        if missing := [name for name in _SETTINGS if name not in setting]:
            raise UserError(f"its setting has no {', '.join(missing)}")
        if not isinstance(groups, dict):
            raise UserError("its breakdown is no object with fields")
        return Record(setting, content, groups, MetricSums(**arrays, **counts), labels)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no evaluation that can be compared: {error.filename} is missing"
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"the evaluation in {folder} is damaged or was written by another version: "
            f"evaluate again ({error})"
        ) from None


def check_comparable(records: dict[str, Record]) -> None:
    """Checks that all records measured the same samples in the same way.

    Raises:
        UserError: they did not; the message names the setting that differs.
    """
    (first, one), *others = records.items()
    for name, other in others:
        for field in _COMPARABLE:
            if one.setting[field] != other.setting[field]:
                raise UserError(
                    f"cannot compare: {field} is {one.setting[field]} in {first} "
                    f"and {other.setting[field]} in {name}; evaluate both with the same options"
                )
        if not np.array_equal(one.labels.subject, other.labels.subject):
            raise UserError(
                f"cannot compare: {first} and {name} were measured on different subjects "
                f"of {one.setting['split']}"
            )
