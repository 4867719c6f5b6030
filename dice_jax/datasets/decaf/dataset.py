"""The data set `decaf`: the training and test data of the paper, prepared by `prepare_decaf`.

from dice_jax.datasets.decaf.dataset import load_split
source = load_split("~/data", "train")
"""

from __future__ import annotations

from pathlib import Path

from dice_jax.datasets import prepared_records
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import Subset, evenly_spaced

COMMAND = (
    "python -m dice_jax.tools.prepare_decaf --decaf FOLDER --out DATA_FOLDER "
    "(see README, licensed data)"
)
VALIDATION_SIZE = 256


class Decaf(prepared_records.PreparedBuilder):
    """Frames of Decaf with meshes, contacts and deformations in camera axes; the paper's splits."""

    FIELDS = (
        "image",
        "foreground",
        "hand_keypoints_2d",
        "head_keypoints_2d",
        "hand_betas",
        "hand_global_orient",
        "hand_pose",
        "hand_transl",
        "head_betas",
        "head_expression",
        "head_global_orient",
        "head_neck_pose",
        "head_jaw_pose",
        "head_transl",
        "deformation_ids",
        "deformation_values",
        "hand_contact",
        "head_contact",
        "hand_box",
        "head_box",
        "subject",
        "scene",
        "view",
        "frame",
        "sequence",
    )


def load_split(data_dir: str | Path, split: str, size: int | None = None) -> Source:
    """Opens a split of `decaf` for random access.

    Args:
        data_dir: the folder of data sets.
        split: "train", "test", or "validation", which is the end of the training takes.
        size: number of samples; None: all of them, or `VALIDATION_SIZE` for "validation", which
            are then evenly spaced.

    Raises:
        UserError: the data set does not exist or has no such split.
    """
    if split == "validation":
        source = prepared_records.open_split(Decaf, data_dir, split, COMMAND)
        return Subset(source, evenly_spaced(len(source), size or VALIDATION_SIZE))
    return prepared_records.open_split(Decaf, data_dir, split, COMMAND, size)
