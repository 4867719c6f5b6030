"""The data set `in_the_wild`: photos of people touching their faces, with pseudo labels only.

from dice_jax.datasets.in_the_wild.dataset import load_split
source = load_split("~/data", "train")      # prepared by dice_jax.tools.prepare_in_the_wild
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dice_jax.datasets import prepared_records
from dice_jax.input_pipeline.loader import Sample, Source

COMMAND = (
    "python -m dice_jax.tools.prepare_in_the_wild --images FOLDER --out DATA_FOLDER "
    "(see README, licensed data)"
)
_DEPTHS = ("hand_keypoints_depth", "head_keypoints_depth")


class InTheWild(prepared_records.PreparedBuilder):
    """Photos with detected keypoints and the depth of the visible surface at them."""

    FIELDS = (
        "image",
        "hand_keypoints_2d",
        "head_keypoints_2d",
        "hand_keypoints_depth",
        "head_keypoints_depth",
        "subject",
        "scene",
        "source",
    )


def load_split(data_dir: str | Path, split: str, size: int | None = None) -> Source:
    """Opens "train", the only split of `in_the_wild`: see `prepared_records.open_train_split`."""
    reason = "it has no ground truth to test with"
    source = prepared_records.open_train_split(
        InTheWild, data_dir, split, COMMAND, size, reason=reason
    )
    return _KnownDepthSource(source)


class _KnownDepthSource:
    """Removes depth labels that are all zero: the data set was prepared without depth."""

    def __init__(self, source: Source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        if any(np.any(sample[name]) for name in _DEPTHS):
            return sample
        return {name: value for name, value in sample.items() if name not in _DEPTHS}
