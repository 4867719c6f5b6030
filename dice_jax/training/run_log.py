"""All that a run writes down while it goes: JSON lines, TensorBoard event files, picture sheets,
and the live line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from tensorboardX import SummaryWriter

from dice_jax.training.progress import MetricsFile

SHEETS = "sheets"
EVENTS = "tensorboard"


class RunLog:
    """`metrics.jsonl`, `validation.jsonl`, `tensorboard/` and `sheets/` of a workdir.

    Only one process of a training writes; for the others the methods do nothing.
    """

    def __init__(self, workdir: str | Path, restored_step: int, *, writes: bool = True):
        """Opens the files; what a broken run wrote after `restored_step` is dropped, TensorBoard is
        told to hide it.
        """
        self._writes = writes
        if not writes:
            return
        workdir = Path(workdir)
        self._training = MetricsFile(workdir / "metrics.jsonl", restored_step)
        self._validation = MetricsFile(workdir / "validation.jsonl", restored_step)
        self._sheets = workdir / SHEETS
        self._events = SummaryWriter(str(workdir / EVENTS), purge_step=restored_step + 1)

    def log_training(self, step: int, values: Mapping[str, float]) -> None:
        """Losses, learning rate and speed after `step`."""
        if self._writes:
            self._training.write(step, values)
            self._add_scalars("training", step, values)

    def log_validation(self, step: int, values: Mapping[str, float]) -> None:
        """The metrics of the validation split after `step`."""
        if self._writes:
            self._validation.write(step, values)
            self._add_scalars("validation", step, values)

    def save_sheet(self, step: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """A picture of validation samples after `step`, as a file of its own and for TensorBoard.

        Raises:
            OSError: the file cannot be written.
        """
        if self._writes:
            self._sheets.mkdir(exist_ok=True)
            path = self._sheets / f"{step:07d}.png"
            if not cv2.imwrite(str(path), picture[..., ::-1]):
                raise OSError(f"cannot write {path}: is the disk full?")
            self._events.add_image("validation", picture, step, dataformats="HWC")

    def close(self) -> None:
        if self._writes:
            self._training.close()
            self._validation.close()
            self._events.close()

    def _add_scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._events.add_scalar(f"{group}/{name}", float(value), step)
        self._events.flush()
