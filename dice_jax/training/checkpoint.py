"""Checkpoints of a run with Orbax: whole or absent, the newest few and the best one kept.

Layout: `workdir/checkpoints/STEP/`, one `TrainState` each, and the validation figures of that step.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from dice_jax.errors import UserError
from dice_jax.training.state import TrainState

FOLDER = "checkpoints"


class Checkpointer:
  """Saves and restores the states of one run."""

  def __init__(self, workdir: str | Path, *, keep: int = 2, best_metric: str = "loss"):
    """Opens the checkpoints of `workdir`, created when absent; what a crash left half-written is removed.

    Args:
      workdir: folder of the run.
      keep: how many of the newest checkpoints stay.
      best_metric: the checkpoint with the smallest value of this figure stays as well.
    """
    best = checkpoint_managers.BestN(
      get_metric_fn=lambda metrics: metrics[best_metric], reverse=True, n=1, keep_checkpoints_without_metrics=False
    )
    policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(keep), best])
    options = ocp.CheckpointManagerOptions(preservation_policy=policy, cleanup_tmp_directories=True)
    self._folder = Path(workdir).resolve() / FOLDER
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
    """Writes `state` (one copy, not replicated) in the background, under its own step.

    Args:
      state: arrays on the host or on one device.
      metrics: validation figures, to tell the best checkpoint.
    """
    step = int(state.step)
    if step not in self._manager.all_steps():
      metrics = {name: float(value) for name, value in metrics.items()} if metrics else None
      self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)

  def restore(self, like: TrainState) -> TrainState | None:
    """The newest state as NumPy arrays, or None in a fresh run.

    Args:
      like: a state of the same structure and shapes.

    Raises:
      UserError: the newest checkpoint is damaged.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    target = jax.tree.map(lambda x: np.empty(np.shape(x), x.dtype), like)
    return _restore(self._manager, self._folder / str(step), target)

  def has_any(self) -> bool:
    """Whether there is a state to restore."""
    return self._manager.latest_step() is not None

  def close(self) -> None:
    """Waits until everything is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()


def newest_step(workdir: str | Path) -> int:
  """The step of the newest checkpoint of a run.

  Raises:
    FileNotFoundError: no checkpoint yet.
  """
  folder = Path(workdir) / FOLDER
  steps = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
  if not steps:
    raise FileNotFoundError(f"{workdir} holds neither exported weights nor a checkpoint yet")
  return max(steps)


def restore_weights(workdir: str | Path) -> dict[str, Any]:
  """The variables for inference of the newest checkpoint: averaged weights where the run keeps them.

  Raises:
    FileNotFoundError: no checkpoint yet.
    UserError: the newest checkpoint is damaged.
  """
  folder = Path(workdir).resolve() / FOLDER
  step = newest_step(workdir)
  with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
    state = _restore(manager, folder / str(step))
  return {"params": state["ema_params"] or state["generator"]["params"], "batch_stats": state["batch_stats"]}


def _restore(manager: ocp.CheckpointManager, path: Path, target: TrainState | None = None) -> Any:
  """Reads the checkpoint at `path`; a damaged one gives one line, not a traceback for each of its arrays."""
  with _silent_stderr():
    try:
      return manager.restore(int(path.name), args=ocp.args.StandardRestore(target))
    except Exception as error:  # Orbax, tensorstore and the JSON of the metadata each raise their own
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
