"""Repeats an update whose losses or gradients were not finite, to name the term at fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from dice_jax.checkpoints.orbax_checkpoints import Checkpointer
from dice_jax.io import atomic
from dice_jax.structs import Batch
from dice_jax.training.state import TrainState
from dice_jax.training.step import Metrics


def replay_failure(
    state: TrainState,
    batch: Batch,
    update: Callable[[TrainState, Batch, int], Metrics],
    checkpointer: Checkpointer,
    workdir: Path,
) -> str:
    """Saves all inputs of a failed update, then runs it again.

    Args:
        state: as the failed update left it; `failed_step` is the number of that update.
        batch: this process's share of the batch of that update.
        update: from the state, the batch and the number of the update to its metrics.
        checkpointer: gets the state; closed afterwards.
        workdir: gets the batch as an npz file.

    Returns:
        One line that names the metrics that were not finite and the files.
    """
    step = int(state.failed_step)
    state = state.replace(failed_step=np.array(-1, np.int32))
    checkpointer.save(state)
    checkpointer.close()
    process = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / f"failed_batch_{step}{process}.npz"
    leaves = jax.tree.leaves_with_path(batch)
    arrays = {jax.tree_util.keystr(key, simple=True, separator="."): x for key, x in leaves}
    with atomic.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)
    metrics = update(state, batch, step)
    culprits = [name for name, value in metrics.items() if not np.isfinite(value)]
    return (
        f"not finite in update {step + 1}: {', '.join(culprits)}; the state before it is saved as "
        f"checkpoint {step}, its batch as {path}; try a lower optimizer.learning_rate or another "
        "seed"
    )
