"""The log of a run on disk: JSON lines, TensorBoard event files and validation sheets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tensorboardX import SummaryWriter

from dice_jax.io import atomic, images

SHEETS = "sheets"
EVENTS = "tensorboard"


class RunLog:
    """`metrics.jsonl`, `validation.jsonl`, `tensorboard/` and `sheets/` of a workdir.

    Only one process of a training writes; in the others the methods do nothing.
    """

    def __init__(self, workdir: str | Path, restored_step: int, *, writes: bool = True):
        """Opens the files.

        Args:
            workdir: folder of the run.
            restored_step: later entries, from an interrupted run, are removed from the JSON lines
                and hidden in TensorBoard.
            writes: whether this process writes.
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
        """Logs losses, learning rate and speed after `step`."""
        if self._writes:
            self._training.write(step, values)
            self._add_scalars("training", step, values)

    def log_validation(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the metrics of the validation split after `step`."""
        if self._writes:
            self._validation.write(step, values)
            self._add_scalars("validation", step, values)

    def save_sheet(self, step: int, sheet: UInt8[np.ndarray, "H W 3"]) -> None:
        """Writes an image of validation samples after `step`, as a PNG file and to TensorBoard.

        Raises:
            OSError: the file cannot be written.
        """
        if self._writes:
            self._sheets.mkdir(exist_ok=True)
            path = self._sheets / f"{step:07d}.png"
            images.write_image(path, sheet)
            self._events.add_image("validation", sheet, step, dataformats="HWC")

    def close(self) -> None:
        """Closes all files."""
        if self._writes:
            self._training.close()
            self._validation.close()
            self._events.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _add_scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._events.add_scalar(f"{group}/{name}", float(value), step)
        self._events.flush()


class MetricsFile:
    """A file with one JSON object a line, each with its `step`.

    A resumed run removes the lines after the restored step, so the file reads as if the run had
    never been interrupted.
    """

    def __init__(self, path: str | Path, restored_step: int):
        """Opens `path`, created when absent, and keeps the lines up to `restored_step`."""
        path = Path(path)
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= restored_step]
        atomic.write_text(path, "".join(kept))
        self._file = path.open("a", buffering=1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line. Values that are not finite become null, as JSON requires."""
        line: dict[str, float | None] = {"step": step}
        for name, value in values.items():
            line[name] = float(value) if math.isfinite(value) else None
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _whole_lines(path: Path) -> list[str]:
    """The lines of `path`, without a last line that a crash cut short."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(True) if line.endswith("\n")]
