"""The data set `composites`: rendered hands upon photos of real faces, with exact labels.

from dice_jax.datasets.composites import load_split
source = load_split("~/data", "train")      # prepared by dice_jax.tools.prepare_composites
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dice_jax.datasets import hand_face_synth, prepared_records
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import Subset

COMMAND = "python -m dice_jax.tools.prepare_composites --images FOLDER --out DATA_FOLDER"


class Composites(prepared_records.PreparedBuilder):
    """Photos of faces with rendered right hands. The head's labels are those of a fit."""

    FIELDS = (*schema.FEATURES, *hand_face_synth.EXTRAS)


def load_split(data_dir: str | Path, split: str, size: int | None = None) -> Source:
    """Opens the only split of `composites`, "train", for random access.

    Args:
        data_dir: the folder of data sets.
        split: "train".
        size: number of samples; None: all of them.

    Raises:
        UserError: another split, or the data set does not exist.
    """
    if split != "train":
        raise UserError(
            f"composites has no split {split!r}, only train: the truth of its heads is a fit"
        )
    source = prepared_records.open_split(Composites, data_dir, split, COMMAND)
    return Subset(source, np.arange(min(size, len(source)))) if size else source
