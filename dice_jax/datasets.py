"""The data sets by name: where their samples lie and how they are varied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dice_jax.body_models.lbs import BodyModel
from dice_jax.data import augment
from dice_jax.data.loader import Source, Transform
from dice_jax.errors import UserError
from dice_jax.synthetic import dataset

# Each: from a folder of data sets, a split and its size (None: the data set's own) to the samples.
DATASETS: dict[str, Callable[[Path, str, int | None], Source]] = {"hand_face_synth": dataset.load_split}


def open_split(name: str, split: str, folder: str | Path | None = None, size: int | None = None) -> Source:
  """The samples of a split; a synthetic data set that is not there is built, with its progress on screen.

  Args:
    name: one of `DATASETS`.
    split: such as "train".
    folder: where data sets lie; else $DICE_DATA, else ~/.cache/dice_jax.
    size: number of samples, for data sets that are made to measure; else the data set's own.

  Raises:
    UserError: an unknown data set, or an empty split.
  """
  if name not in DATASETS:
    raise UserError(f"unknown data set '{name}': there is {', '.join(DATASETS)}")
  folder = Path(folder or os.environ.get("DICE_DATA") or "~/.cache/dice_jax").expanduser()
  source = DATASETS[name](folder, split, size or None)
  if len(source) == 0:
    raise UserError(f"the split '{split}' of {name} in {folder} is empty: delete it and build it again")
  return source


def augmentation(config: ConfigDict, hand_model: BodyModel, head_model: BodyModel) -> Transform:
  """The random changes that `config` (fields of `augment.Ranges`) asks for."""
  ranges = augment.Ranges(**config)
  hand_root, head_root = root_joint(hand_model), root_joint(head_model)
  return lambda sample, rng: augment.augment(sample, rng, ranges, hand_root, head_root)


def root_joint(model: BodyModel) -> augment.RootJoint:
  """Where the root joint of `model` rests, as a function of its blend coefficients."""
  regressor = np.asarray(model.J_regressor, np.float64)[0]
  template = regressor @ np.asarray(model.v_template, np.float64)
  return augment.RootJoint(template, np.einsum("v,vcs->cs", regressor, np.asarray(model.shapedirs, np.float64)))
