"""The data sets by name: where they are stored, how they are mixed, and which files are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dice_jax import user_folders
from dice_jax.body_models import asset_folder
from dice_jax.datasets import composites, hand_face_synth, prepared_records
from dice_jax.datasets.decaf import dataset as decaf_dataset
from dice_jax.datasets.in_the_wild import dataset as in_the_wild_dataset
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import Mixture

# Each function takes the folder of data sets, a split, and its size (None: the default size).
Datasets = Mapping[str, Callable[[Path, str, int | None], Source]]
DATASETS: dict[str, Callable[[Path, str, int | None], Source]] = {
    "hand_face_synth": hand_face_synth.load_split,
    "decaf": decaf_dataset.load_split,
    "in_the_wild": in_the_wild_dataset.load_split,
    "composites": composites.load_split,
}
OPEN = "hand_face_synth"  # the data set that needs no license and no download


class _Requirements(NamedTuple):
    """What the user has to provide before a data set can be opened."""

    builder: type[prepared_records.PreparedBuilder]
    command: str
    body_models: tuple[str, ...]


_REQUIREMENTS = {
    "decaf": _Requirements(decaf_dataset.Decaf, decaf_dataset.COMMAND, ("mano_right", "flame")),
    "in_the_wild": _Requirements(in_the_wild_dataset.InTheWild, in_the_wild_dataset.COMMAND, ()),
    "composites": _Requirements(composites.Composites, composites.COMMAND, ()),
}


def open_split(
    name: str,
    split: str,
    folder: str | Path | None = None,
    size: int | None = None,
    *,
    datasets: Datasets = DATASETS,
) -> Source:
    """Opens a split for random access; a synthetic data set that is missing is built first.

    Args:
        name: one of `DATASETS`, or several with their shares, as in "decaf:11+in_the_wild:1". Only
            the split "train" is mixed; other splits are those of the first data set.
        split: such as "train".
        folder: the folder of data sets; None: $DICE_DATA, or else ~/.cache/dice_jax.
        size: number of samples; None or 0: the default of the data set.
        datasets: the data sets that `name` may use.

    Raises:
        UserError: an unknown data set, an empty split, or missing files. The message lists all
            missing files and how to get them.
    """
    weights = parse_mixture(name, datasets)
    folder = data_folder(folder)
    raise_if_missing(missing_data(name, folder, datasets))
    if split != "train":
        weights = dict(list(weights.items())[:1])
    sources = []
    for part in weights:
        source = datasets[part](folder, split, size or None)
        if len(source) == 0:
            raise UserError(
                f"the split '{split}' of {part} in {folder} is empty: delete it and build it again"
            )
        sources.append(source)
    return sources[0] if len(sources) == 1 else Mixture(sources, list(weights.values()))


def parse_mixture(name: str, datasets: Datasets = DATASETS) -> dict[str, float]:
    """Parses data sets and shares, as in "decaf:11+in_the_wild:1"; the default share is 1.

    Raises:
        UserError: an unknown or repeated data set, or a share that is not a positive number.
    """
    weights: dict[str, float] = {}
    for part in name.split("+"):
        part, _, share = part.strip().partition(":")
        if part not in datasets:
            raise UserError(f"unknown data set '{part}': choose from {', '.join(datasets)}")
        try:
            weight = float(share or 1)
        except ValueError:
            weight = 0.0
        if part in weights or not 0 < weight < float("inf"):
            raise UserError(
                f"data.name '{name}': name each data set once, with a positive share after a colon"
            )
        weights[part] = weight
    return weights


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder of data sets: `folder`, else $DICE_DATA, else ~/.cache/dice_jax."""
    return user_folders.expand(folder) if folder else user_folders.default_folder("DICE_DATA")


def missing_data(
    name: str, folder: str | Path | None = None, datasets: Datasets = DATASETS
) -> list[str]:
    """Returns one line for each file or data set that the data sets of `name` need and lack."""
    needed = [
        _REQUIREMENTS[part] for part in parse_mixture(name, datasets) if part in _REQUIREMENTS
    ]
    models = [model for requirements in needed for model in requirements.body_models]
    lines = [line for line in (asset_folder.missing(model) for model in models) if line]
    folder = data_folder(folder)
    for builder, command, _ in needed:
        if not prepared_records.is_built(builder, folder):
            lines.append(f"{builder.name} is not in {folder}: prepare it with {command}")
    return lines


def require(
    data: ConfigDict,
    body_models: Mapping[str, str] | ConfigDict | None = None,
    datasets: Datasets = DATASETS,
    further: Sequence[str | None] = (),
) -> None:
    """Stops a run before any long work if files that the user has to provide are missing.

    Args:
        data: `config.data` of a training run: its `name`, `dir` and `priors`.
        body_models: the model name or file of each part, "hand" and "head"; "": the open model.
        datasets: the data sets that `data.name` may use.
        further: lines about other missing files; None where nothing is missing.

    Raises:
        UserError: the list of missing files and how to train without them; or labels that belong
            to other body models than `body_models`.
    """
    named = set(dict(body_models or {}).values())
    for part in parse_mixture(data.name, datasets):
        needed = set(_REQUIREMENTS[part].body_models if part in _REQUIREMENTS else ())
        if needed - named:
            raise UserError(
                f"the labels of {part} belong to {' and '.join(sorted(needed))}, "
                "not to the open models: start from configs/full.py, whose body_models name them"
            )
    lines = missing_data(data.name, data.dir, datasets)
    for model in sorted(named):
        line = asset_folder.missing(model) if model in asset_folder.LICENSED else None
        if line and line not in lines:
            lines.append(line)
    priors = data_folder(data.dir) / data.priors if data.priors else None
    if priors and not priors.is_file():
        lines.append(
            f"{priors.name} is not in {priors.parent}: "
            "make it with python -m dice_jax.tools.prepare_priors"
        )
    raise_if_missing([*lines, *(line for line in further if line)])


def require_depth(split: Source, name: str) -> None:
    """Checks that a split can be used with the depth loss.

    Looks at 32 samples spread evenly over the split.

    Args:
        split: encoded samples.
        name: of the data set, for the message.

    Raises:
        UserError: none of these samples has depth.
    """
    indices = np.unique(np.linspace(0, len(split) - 1, 32).astype(int))
    if not any("hand_keypoints_depth" in schema.decode(split[int(index)]) for index in indices):
        raise UserError(
            f"the depth loss is on but the samples of {name} have no depth: prepare them with "
            "depth, or switch it off with --config.losses.depth=0"
        )


def raise_if_missing(lines: list[str]) -> None:
    """Raises a `UserError` that lists what is missing, unless `lines` is empty."""
    if lines:
        listed = " ".join(f"({number}) {line};" for number, line in enumerate(lines, start=1))
        raise UserError(
            f"{len(lines)} thing{'s' * (len(lines) > 1)} missing: {listed} "
            "or train on the open data instead: "
            "python -m dice_jax.train --config=configs/full.py:synthetic --workdir=FOLDER"
        )
