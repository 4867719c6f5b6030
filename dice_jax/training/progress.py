"""What a run tells: `metrics.jsonl` for programs, one live line for people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from jaxtyping import PyTree
from ml_collections import ConfigDict
from tqdm import tqdm

_SHOWN = {
    "img/s": "images_per_second",
    "loss": "loss",
    "vertices": "loss/vertices",
    "contact": "loss/contact",
    "adversarial": "loss/adversarial",
}


class MetricsFile:
    """A file of one JSON object a line, each with its `step`.

    A resumed run drops what came after the restored step, so the file reads as if the run had never
    been broken.
    """

    def __init__(self, path: str | Path, restored_step: int):
        """Opens `path`, created when absent, and keeps the lines up to `restored_step`."""
        path = Path(path)
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= restored_step]
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(kept))
        partial.replace(path)
        self._file = path.open("a", buffering=1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line. What is not finite becomes null, which JSON has no other word for."""
        values = {name: float(value) for name, value in values.items()}
        values = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")

    def close(self) -> None:
        self._file.close()


class Progress:
    """The live line: steps done, time left, the newest losses, and the speed since the last log
    step.
    """

    def __init__(self, step: int, total_steps: int, batch_size: int, *, shown: bool = True):
        self._bar = tqdm(
            total=total_steps,
            initial=step,
            desc="compiling",
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not shown,
        )
        self._shown = shown
        self._batch_size = batch_size
        self._last = (time.perf_counter(), step)

    def advance(self) -> None:
        self._bar.set_description("training", refresh=False)
        self._bar.update()

    def images_per_second(self, step: int) -> float:
        """Speed since the previous call."""
        (then, first), now = self._last, time.perf_counter()
        self._last = (now, step)
        return (step - first) * self._batch_size / max(now - then, 1e-9)

    def show(self, values: Mapping[str, float]) -> None:
        """Puts the most telling of `values`, as they go to the run log, on the live line."""
        shown = {label: f"{values[name]:.4g}" for label, name in _SHOWN.items() if name in values}
        self._bar.set_postfix(shown, refresh=False)

    def say(self, line: str) -> None:
        """Prints above the live line."""
        if self._shown:
            self._bar.write(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()


def summary(config: ConfigDict, params: PyTree, first: int, samples: int) -> str:
    """What a run is about to do, in one line.

    Args:
        config: of the run.
        params: the network's weights.
        first: updates done already.
        samples: size of the training split.
    """
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    if jax.process_count() > 1:
        devices += f" in {jax.process_count()} processes"
    weights = sum(x.size for x in jax.tree.leaves(params)) / 1e6
    steps = (
        f"{config.total_steps} steps" if first == 0 else f"steps {first} to {config.total_steps}"
    )
    epochs = config.total_steps * config.batch_size / samples
    return (
        f"{devices}, {weights:.1f} M weights, batch {config.batch_size}, {steps}, "
        f"{samples} samples seen {epochs:.1f} times, seed {config.seed}"
    )


def _whole_lines(path: Path) -> list[str]:
    """The lines of `path`; a last line that a crash cut short is left out."""
    return (
        [line for line in path.read_text().splitlines(True) if line.endswith("\n")]
        if path.exists()
        else []
    )
