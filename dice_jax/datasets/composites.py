"""The data set `composites`: rendered hands upon photos of real faces, with exact labels.

from dice_jax.datasets.composites import load_split
source = load_split("~/data", "train")      # prepared by dice_jax.tools.prepare_composites
"""

from __future__ import annotations

from pathlib import Path

from dice_jax.datasets import hand_face_synth, prepared_records
from dice_jax.input_pipeline import schema
from dice_jax.input_pipeline.loader import Source

COMMAND = "python -m dice_jax.tools.prepare_composites --images FOLDER --out DATA_FOLDER"


class Composites(prepared_records.PreparedBuilder):
    """Photos of faces with rendered right hands. The head's labels are those of a fit."""

    FIELDS = (*schema.FEATURES, *hand_face_synth.EXTRAS)


def load_split(data_dir: str | Path, split: str, size: int | None = None) -> Source:
    """Opens "train", the only split of `composites`: see `prepared_records.open_train_split`."""
    reason = "the truth of its heads is a fit"
    return prepared_records.open_train_split(
        Composites, data_dir, split, COMMAND, size, reason=reason
    )
