"""Checkpoints of a run with Orbax: whole or absent, the newest few and the best one kept.

Layout: `workdir/checkpoints/STEP/`, one `TrainState` each, the validation figures of that step,
and, as JSON in `_CHECKPOINT_METADATA`, what else decides the run: configuration, code, data (see
`provenance`). With several processes each of them makes every call; Orbax lets one write, on a file
system that all see.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from orbax.checkpoint import checkpoint_managers

from dice_jax.errors import UserError
from dice_jax.training.state import TrainState

FOLDER = "checkpoints"


class Checkpointer:
    """Saves and restores the states of one run."""

    def __init__(
        self,
        workdir: str | Path,
        *,
        keep: int = 2,
        best_metric: str = "loss",
        about: Mapping[str, Any] | None = None,
    ):
        """Opens the checkpoints of `workdir`, created when absent; what a crash left half-written
        is removed.

        Args:
            workdir: folder of the run.
            keep: how many of the newest checkpoints stay.
            best_metric: the checkpoint with the smallest value of this figure stays as well.
            about: to be kept with every checkpoint, JSON.
        """
        best = checkpoint_managers.BestN(
            get_metric_fn=lambda metrics: metrics[best_metric],
            reverse=True,
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        policy = checkpoint_managers.AnyPreservationPolicy(
            [checkpoint_managers.LatestN(keep), best]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, cleanup_tmp_directories=True
        )
        self._folder = Path(workdir).resolve() / FOLDER
        self._manager = ocp.CheckpointManager(
            self._folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )
        self._about = dict(about) if about else None
        self._writing: int | None = None  # the newest that was begun
        _raise_failures_only()

    def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
        """Writes `state` (one copy, not replicated) in the background, under its own step.

        Args:
            state: arrays on the host or on one device.
            metrics: validation figures, to tell the best checkpoint.
        """
        step = int(state.step)
        if step not in self._manager.all_steps():
            metrics = {name: float(value) for name, value in metrics.items()} if metrics else None
            self._wait()  # as Orbax would, but knowing which one failed
            self._writing = step
            with self._one_line():
                self._manager.save(
                    step,
                    args=ocp.args.StandardSave(state),
                    metrics=metrics,
                    custom_metadata=self._about,
                )

    def check(self) -> None:
        """Raises a UserError where the checkpoint that is being written failed. Does not wait."""
        with self._one_line():
            self._manager.check_for_errors()

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state as NumPy arrays, or None in a fresh run.

        Args:
            like: a state of the same structure and shapes.

        Raises:
            UserError: the newest checkpoint is damaged, or of other networks or optimizers.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        self._check_same_arrays(step, like)
        target = jax.tree.map(lambda x: np.empty(np.shape(x), x.dtype), like)
        return _restore(self._manager, self._folder / str(step), target)

    def has_any(self) -> bool:
        """Whether there is a state to restore."""
        return self._manager.latest_step() is not None

    def about(self) -> dict[str, Any]:
        """What was kept with the newest checkpoint, nothing in a fresh run."""
        step = self._manager.latest_step()
        return {} if step is None else self._manager.metadata(step).custom_metadata or {}

    def close(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: it did not get there.
        """
        self._wait()
        self._manager.close()

    def _wait(self) -> None:
        with self._one_line():
            self._manager.wait_until_finished()

    def _check_same_arrays(self, step: int, like: TrainState) -> None:
        """Compares names and shapes; Orbax itself would end in a traceback about the first that
        differs.
        """
        try:
            there = _shapes(self._manager.item_metadata(step).tree)
        except Exception:  # damaged, each kind of damage in its own words: `_restore` will say so
            return
        here = _shapes(ocp.tree.serialize_tree(like, keep_empty_nodes=True))
        differing = [
            f"{name} ({there.get(name, 'nothing')} there, {here.get(name, 'nothing')} now)"
            for name in sorted(there.keys() | here.keys())
            if there.get(name) != here.get(name)
        ]
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise UserError(
                f"checkpoint {self._folder / str(step)} is of another network or optimizer: {', '.join(differing[:3])}{more}; "
                "go back to its configuration or take another workdir"
            )

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        """What goes wrong while a checkpoint is written, most often a full disk, as one line."""
        try:
            yield
        except Exception as error:  # Orbax, tensorstore and the file system each raise their own
            whole = _whole_steps(self._folder)
            then = f"the newest whole one is {max(whole)}" if whole else "there is no earlier one"
            raise UserError(
                f"checkpoint {self._writing} could not be written to {self._folder} ({_reason(error)}); {then}: make room and "
                "give the same command again"
            ) from error


def newest_step(workdir: str | Path) -> int:
    """The step of the newest checkpoint of a run.

    Raises:
        FileNotFoundError: no checkpoint yet.
    """
    steps = _whole_steps(Path(workdir) / FOLDER)
    if not steps:
        raise FileNotFoundError(f"{workdir} holds neither exported weights nor a checkpoint yet")
    return max(steps)


def restore_weights(workdir: str | Path) -> dict[str, Any]:
    """The variables for inference of the newest checkpoint: averaged weights where the run keeps
    them.

    Raises:
        FileNotFoundError: no checkpoint yet.
        UserError: the newest checkpoint is damaged.
    """
    folder = Path(workdir).resolve() / FOLDER
    step = newest_step(workdir)
    with ocp.CheckpointManager(
        folder, options=ocp.CheckpointManagerOptions(read_only=True)
    ) as manager:
        state = _restore(manager, folder / str(step))
    return {
        "params": state["ema_params"] or state["generator"]["params"],
        "batch_stats": state["batch_stats"],
    }


def save_weights(folder: str | Path, variables: Mapping[str, Any]) -> None:
    """Writes `variables` as a checkpoint that `restore_weights` reads, at step 0; one that is there
    already is replaced.

    Args:
        folder: as the workdir of a run; created when absent.
        variables: {"params": ..., "batch_stats": ...}.
    """
    state = {"ema_params": variables["params"], "batch_stats": variables["batch_stats"]}
    path = Path(folder).resolve() / FOLDER
    shutil.rmtree(path, ignore_errors=True)
    with ocp.CheckpointManager(path) as manager:
        manager.save(0, args=ocp.args.StandardSave(state))


@functools.cache
def _raise_failures_only() -> None:
    """What fails while a checkpoint is written raises at the next call: once is enough.

    Besides that Orbax logs it, asyncio logs it for each array that nobody waited for any more, and
    the native threads of tensorstore print a traceback each because the event loop they report to
    has gone.
    """
    absl_logging.get_absl_logger().addFilter(lambda record: "/orbax/" not in record.pathname)
    logging.getLogger("asyncio").addFilter(
        lambda record: "exception was never retrieved" not in record.getMessage()
    )
    show = sys.unraisablehook

    def unraisablehook(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            show(unraisable)

    sys.unraisablehook = unraisablehook


def _whole_steps(folder: Path) -> list[int]:
    """The steps on disk; Orbax gives a checkpoint its name when all of it is there."""
    return [int(path.name) for path in folder.glob("*") if path.name.isdigit()]


def _shapes(tree: Any) -> dict[str, tuple[int, ...] | None]:
    """Shapes by name of a nested dictionary of arrays; an empty dictionary has none."""
    flat = ocp.tree.to_flat_dict(tree, sep=".")
    return {name: tuple(value.shape) for name, value in flat.items() if hasattr(value, "shape")}


def _reason(error: BaseException) -> str:
    """The part of an error of Orbax or tensorstore that a person wants to read."""
    message = " ".join(str(error).split())
    for known in (
        "No space left on device",
        "File too large",
        "Disk quota exceeded",
        "Permission denied",
    ):
        if known in message:
            return known
    return message[:200]


def _restore(manager: ocp.CheckpointManager, path: Path, target: TrainState | None = None) -> Any:
    """Reads the checkpoint at `path`; a damaged one gives one line, not a traceback for each of its
    arrays.
    """
    with _silent_stderr():
        try:
            return manager.restore(int(path.name), args=ocp.args.StandardRestore(target))
        except (
            Exception
        ) as error:  # Orbax, tensorstore and the JSON of the metadata each raise their own
            time.sleep(1.0)  # the reading threads of tensorstore print to the end
            earlier = [step for step in sorted(manager.all_steps()) if step < int(path.name)]
            then = f"to go on from step {earlier[-1]}" if earlier else "to begin again"
            raise UserError(f"checkpoint {path} is damaged: delete that folder {then}") from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Sends what is written to the process's stderr nowhere, native threads included."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
