"""Checkpoints of a run, written with Orbax, of which the latest few and the best are kept.

Layout: `workdir/checkpoints/STEP/` holds the training state, the validation metrics of that step
and, as JSON in `_CHECKPOINT_METADATA`, everything else that determines the run: configuration,
code and data (see `provenance`). A checkpoint is either complete or absent. With several processes
every process makes every call. Orbax lets one of them write, on a file system that they share.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from orbax.checkpoint import checkpoint_managers

from dice_jax.errors import UserError

FOLDER = "checkpoints"
BEST_METRIC = "pve_mm"  # of the validation, the smaller the better


@runtime_checkable
class State(Protocol):
    """A training state: a pytree whose field `step` counts finished updates.

    `restore_weights` further needs the fields `ema_params`, `generator.params` and `batch_stats`.
    """

    @property
    def step(self) -> Any: ...


AnyState = TypeVar("AnyState", bound=State)


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
        """Opens the checkpoints of a run and removes those that a crash left incomplete.

        Args:
            workdir: folder of the run, created when absent.
            keep: number of the latest checkpoints to keep.
            best_metric: the checkpoint with the smallest value of this metric is kept as well.
            about: stored with every checkpoint as JSON.
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
        # Without `best_fn` Orbax stores no metrics, and a resumed run would forget the best.
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=lambda metrics: metrics[best_metric],
            best_mode="min",
            cleanup_tmp_directories=True,
        )
        self._folder = Path(workdir).resolve() / FOLDER
        self._manager = ocp.CheckpointManager(
            self._folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )
        self._about = dict(about) if about else None
        self._writing: int | None = None  # the step that was last begun
        _silence_background_errors()

    def save(self, state: State, metrics: Mapping[str, float] | None = None) -> None:
        """Writes `state` in the background, under its own step.

        Args:
            state: one copy, not replicated; arrays on the host or on one device.
            metrics: of the validation split, from which the best checkpoint is chosen.

        Raises:
            UserError: the previous checkpoint could not be written.
        """
        step = int(state.step)
        if step not in self._manager.all_steps():
            metrics = {name: float(value) for name, value in metrics.items()} if metrics else None
            self._wait()  # Orbax would wait as well, but not report which checkpoint failed
            self._writing = step
            with self._as_user_error():
                self._manager.save(
                    step,
                    args=ocp.args.StandardSave(state),
                    metrics=metrics,
                    custom_metadata=self._about,
                )

    def raise_if_failed(self) -> None:
        """Raises a UserError if the checkpoint in the background failed. Does not wait for it."""
        with self._as_user_error():
            self._manager.check_for_errors()

    def restore(self, like: AnyState) -> AnyState | None:
        """Reads the latest state.

        Args:
            like: a state of the same structure and shapes.

        Returns:
            The state as NumPy arrays, or None in a fresh run.

        Raises:
            UserError: the checkpoint is damaged, or it belongs to other networks or optimizers.
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
        """The `about` that was stored with the latest checkpoint; empty in a fresh run."""
        step = self._manager.latest_step()
        return {} if step is None else self._manager.metadata(step).custom_metadata or {}

    def close(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: a checkpoint could not be written.
        """
        self._wait()
        with self._as_user_error():
            self._manager.close()

    def _wait(self) -> None:
        with self._as_user_error():
            self._manager.wait_until_finished()

    def _check_same_arrays(self, step: int, like: State) -> None:
        """Compares names and shapes, because Orbax would raise a traceback about one array."""
        try:
            saved = _shapes(self._manager.item_metadata(step).tree)
        except Exception:  # damage of any kind, which `_restore` reports
            return
        current = _shapes(ocp.tree.serialize_tree(like, keep_empty_nodes=True))
        differing = [
            f"{name} ({saved.get(name, 'nothing')} there, {current.get(name, 'nothing')} now)"
            for name in sorted(saved.keys() | current.keys())
            if saved.get(name) != current.get(name)
        ]
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise UserError(
                f"checkpoint {self._folder / str(step)} is of another network or optimizer: "
                f"{', '.join(differing[:3])}{more}; use its configuration or another workdir"
            )

    @contextlib.contextmanager
    def _as_user_error(self) -> Iterator[None]:
        """Reports a failure to write, most often a full disk, in one line."""
        try:
            yield
        except Exception as error:  # Orbax, tensorstore and the file system have different types
            complete = _complete_steps(self._folder)
            last = f"the latest complete one is {max(complete)}" if complete else "none is complete"
            raise UserError(
                f"checkpoint {self._writing} could not be written to {self._folder} "
                f"({_reason(error)}); {last}: free some space and repeat the command"
            ) from error


def latest_step(workdir: str | Path) -> int:
    """The step of the latest checkpoint of a run.

    Raises:
        FileNotFoundError: no checkpoint yet.
    """
    steps = _complete_steps(Path(workdir) / FOLDER)
    if not steps:
        raise FileNotFoundError(f"{workdir} holds neither exported weights nor a checkpoint yet")
    return max(steps)


def best_step(workdir: str | Path) -> int:
    """The step of the checkpoint with the best validation, or else of the latest one.

    Raises:
        FileNotFoundError: no checkpoint yet.
    """
    latest = latest_step(workdir)
    folder = Path(workdir) / FOLDER
    found = {}
    for step in _complete_steps(folder):
        path = folder / str(step) / "metrics" / "metrics"  # of Orbax
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found[step] = float(json.loads(path.read_text())[BEST_METRIC])
    return min(found, key=lambda step: (found[step], -step)) if found else latest


def restore_weights(workdir: str | Path) -> dict[str, Any]:
    """The variables for inference in the checkpoint of `best_step`.

    Returns:
        {"params": ..., "batch_stats": ...}; the averaged weights if the run keeps an average.

    Raises:
        FileNotFoundError: no checkpoint yet.
        UserError: that checkpoint is damaged.
    """
    folder = Path(workdir).resolve() / FOLDER
    step = best_step(workdir)
    options = ocp.CheckpointManagerOptions(read_only=True)
    with ocp.CheckpointManager(folder, options=options) as manager:
        state = _restore(manager, folder / str(step))
    return {
        "params": state["ema_params"] or state["generator"]["params"],
        "batch_stats": state["batch_stats"],
    }


def save_weights(folder: str | Path, variables: Mapping[str, Any]) -> None:
    """Writes `variables` as a checkpoint for `restore_weights`, at step 0.

    Args:
        folder: as the workdir of a run; created when absent. Its checkpoints are replaced.
        variables: {"params": ..., "batch_stats": ...}.
    """
    state = {"ema_params": variables["params"], "batch_stats": variables["batch_stats"]}
    path = Path(folder).resolve() / FOLDER
    shutil.rmtree(path, ignore_errors=True)
    with ocp.CheckpointManager(path) as manager:
        manager.save(0, args=ocp.args.StandardSave(state))


@functools.cache
def _silence_background_errors() -> None:
    """Suppresses all reports of a failed checkpoint other than the exception of the next call.

    Without it, Orbax logs the failure, asyncio logs it for each array whose result nobody awaits
    any more, and the native threads of tensorstore print one traceback each because their event
    loop is closed.
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


def _complete_steps(folder: Path) -> list[int]:
    """The steps on disk. Orbax renames a checkpoint to its step once it is complete."""
    return [int(path.name) for path in folder.glob("*") if path.name.isdigit()]


def _shapes(tree: Any) -> dict[str, tuple[int, ...] | None]:
    """The shape of each array in a nested dictionary, by its path."""
    flat = ocp.tree.to_flat_dict(tree, sep=".")
    return {name: tuple(value.shape) for name, value in flat.items() if hasattr(value, "shape")}


def _reason(error: BaseException) -> str:
    """The informative part of an error message of Orbax or tensorstore."""
    message = " ".join(str(error).split())
    known = ("No space left on device", "File too large", "Disk quota exceeded")
    found = (reason for reason in (*known, "Permission denied") if reason in message)
    return next(found, message[:200])


def _restore(manager: ocp.CheckpointManager, path: Path, target: Any = None) -> Any:
    """Reads the checkpoint at `path`; damage is reported in one line, not in one traceback each."""
    with _silent_stderr():
        try:
            return manager.restore(int(path.name), args=ocp.args.StandardRestore(target))
        except Exception as error:  # of Orbax, tensorstore, or the JSON of the metadata
            time.sleep(1.0)  # until the reading threads of tensorstore have printed everything
            earlier = [step for step in sorted(manager.all_steps()) if step < int(path.name)]
            then = f"to resume from step {earlier[-1]}" if earlier else "to start again"
            raise UserError(f"checkpoint {path} is damaged: delete that folder {then}") from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discards what is written to stderr, also by native threads."""
    sys.stderr.flush()
    original, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(original, 2)
        os.close(original)
        os.close(null)
