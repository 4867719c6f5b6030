"""The data sets by name: where their samples lie, how they are mixed and varied, and what is
missing of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dice_jax.body_models import asset_folder
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mirror_vertices import mirror_coefficients, mirror_vertices
from dice_jax.datasets import hand_face_synth, prepared_records
from dice_jax.datasets.decaf import dataset as decaf
from dice_jax.datasets.in_the_wild import dataset as in_the_wild
from dice_jax.errors import UserError
from dice_jax.input_pipeline import augment, mirror_sample, photometric
from dice_jax.input_pipeline.loader import Source, Transform
from dice_jax.input_pipeline.mixture import Mixture

# Each: from a folder of data sets, a split and its size (None: the data set's own) to the samples.
DATASETS: dict[str, Callable[[Path, str, int | None], Source]] = {
    "hand_face_synth": hand_face_synth.load_split,
    "decaf": decaf.load_split,
    "in_the_wild": in_the_wild.load_split,
}
OPEN = "hand_face_synth"


class _Needs(NamedTuple):
    """What a data set of others needs before it can be opened."""

    builder: type[prepared_records.PreparedBuilder]
    command: str
    body_models: tuple[str, ...]


_NEEDS = {
    "decaf": _Needs(decaf.Decaf, decaf.COMMAND, ("mano_right", "flame")),
    "in_the_wild": _Needs(in_the_wild.InTheWild, in_the_wild.COMMAND, ()),
}


def open_split(
    name: str, split: str, folder: str | Path | None = None, size: int | None = None
) -> Source:
    """The samples of a split; a synthetic data set that is not there is built, with its progress on
    screen.

    Args:
        name: one of `DATASETS`, or several with their shares, as in "decaf:11+in_the_wild:1". Other
            splits than "train" are those of the first one.
        split: such as "train".
        folder: where data sets lie; else $DICE_DATA, else ~/.cache/dice_jax.
        size: number of samples, for data sets that are made to measure; else the data set's own.

    Raises:
        UserError: an unknown data set, an empty split, or data that each user brings is not there:
            all that is missing is listed, with what to do about it.
    """
    weights = parse_mixture(name)
    folder = data_folder(folder)
    complain(missing_data(name, folder))
    if split != "train":
        weights = dict(list(weights.items())[:1])
    sources = []
    for part in weights:
        source = DATASETS[part](folder, split, size or None)
        if len(source) == 0:
            raise UserError(
                f"the split '{split}' of {part} in {folder} is empty: delete it and build it again"
            )
        sources.append(source)
    return sources[0] if len(sources) == 1 else Mixture(sources, list(weights.values()))


def parse_mixture(name: str) -> dict[str, float]:
    """Data sets and their shares from "decaf:11+in_the_wild:1"; without a number the share is 1.

    Raises:
        UserError: an unknown data set, one named twice, or a share that is no positive number.
    """
    weights: dict[str, float] = {}
    for part in name.split("+"):
        part, _, share = part.strip().partition(":")
        if part not in DATASETS:
            raise UserError(f"unknown data set '{part}': there is {', '.join(DATASETS)}")
        try:
            weight = float(share or 1)
        except ValueError:
            weight = 0.0
        if part in weights or not 0 < weight < float("inf"):
            raise UserError(
                f"data.name '{name}': each data set once, with a positive share after a colon"
            )
        weights[part] = weight
    return weights


def data_folder(folder: str | Path | None = None) -> Path:
    """Where data sets lie: `folder`, else $DICE_DATA, else ~/.cache/dice_jax."""
    return Path(folder or os.environ.get("DICE_DATA") or "~/.cache/dice_jax").expanduser()


def missing_data(name: str, folder: str | Path | None = None) -> list[str]:
    """One line for each thing that the data sets of `name` need and that is not there."""
    needs = [_NEEDS[part] for part in parse_mixture(name) if part in _NEEDS]
    models = [model for need in needs for model in need.body_models]
    lines = [line for line in (asset_folder.missing(model) for model in models) if line]
    for need in needs:
        if not prepared_records.is_built(need.builder, data_folder(folder)):
            lines.append(
                f"{need.builder.name} is not in {data_folder(folder)}: prepare it with {need.command}"
            )
    return lines


def require(config: ConfigDict) -> None:
    """Stops a run at once, before anything is built, where files that each user brings are missing.

    Args:
        config: of a training; `config.body_models`, where there is one, names the models of hand
            and head.

    Raises:
        UserError: the list of what is missing, and how to train without it; or labels that belong
            to other body models than those of the configuration.
    """
    named = set((config.get("body_models") or {}).values())
    for part in parse_mixture(config.data.name):
        needed = set(_NEEDS[part].body_models if part in _NEEDS else ())
        if needed - named:
            raise UserError(
                f"the labels of {part} belong to {' and '.join(sorted(needed))}, not to the open models: start from "
                "configs/full.py, whose body_models name them"
            )
    lines = missing_data(config.data.name, config.data.dir)
    for model in sorted(named):
        line = asset_folder.missing(model) if model in asset_folder.LICENSED else None
        if line and line not in lines:
            lines.append(line)
    priors = data_folder(config.data.dir) / config.data.priors if config.data.priors else None
    if priors and not priors.is_file():
        lines.append(
            f"{priors.name} is not in {priors.parent}: make it with python -m dice_jax.tools.prepare_priors"
        )
    complain(lines)


def complain(lines: list[str]) -> None:
    """Raises a `UserError` with the list of what is missing, if anything is."""
    if lines:
        listed = " ".join(f"({number}) {line};" for number, line in enumerate(lines, start=1))
        raise UserError(
            f"{len(lines)} thing{'s' * (len(lines) > 1)} missing: {listed} or train on the open data instead: "
            "python -m dice_jax.train --config=configs/full.py:synthetic --workdir=FOLDER"
        )


def augmentation(config: ConfigDict, hand_model: BodyModel, head_model: BodyModel) -> Transform:
    """The random changes that `config` asks for: fields of `augment.Ranges`, and a
    `background_folder` of pictures.

    Raises:
        UserError: there are no pictures in the folder of backgrounds.
    """
    fields = dict(config)
    folder = fields.pop("background_folder", "")
    ranges = augment.Ranges(**fields)
    hand_root, head_root = root_joint(hand_model), root_joint(head_model)
    head_mirror = mirror_of(head_model) if ranges.flip else None
    backgrounds = photometric.Backgrounds(folder) if folder and ranges.background else None
    return lambda sample, rng: augment.augment(
        sample, rng, ranges, hand_root, head_root, head_mirror, backgrounds
    )


def root_joint(model: BodyModel) -> augment.RootJoint:
    """Where the root joint of `model` rests, as a function of its blend coefficients."""
    regressor = np.asarray(model.J_regressor, np.float64)[0]
    template = regressor @ np.asarray(model.v_template, np.float64)
    return augment.RootJoint(
        template, np.einsum("v,vcs->cs", regressor, np.asarray(model.shapedirs, np.float64))
    )


def mirror_of(head_model: BodyModel) -> mirror_sample.HeadMirror:
    """How a head maps to its mirror image."""
    count, betas = head_model.shapedirs.shape[-1], head_model.num_betas
    return mirror_sample.HeadMirror(
        mirror_vertices(head_model),
        mirror_coefficients(head_model, 0, betas),
        mirror_coefficients(head_model, betas, count),
        root_joint(head_model),
    )
