"""Distributed training with several processes, on one computer or many.

Every process runs the same command on its own devices and its own share of each batch. All of them
share a file system with the workdir.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from dice_jax.errors import UserError


def join(
    distributed: bool = False,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Connects this process with the others. Without arguments it does nothing.

    Call it before the first use of a device.

    Args:
        distributed: get the other arguments, where they are None, from the cluster (SLURM, Open
            MPI, Kubernetes, Cloud TPU).
        coordinator_address: HOST:PORT of process 0.
        num_processes: number of processes of the training.
        process_id: number of this process, counted from 0.

    Raises:
        UserError: arguments are missing and the cluster does not provide them, or the other
            processes cannot be reached.
    """
    explicit = (coordinator_address, num_processes, process_id)
    if not distributed and explicit == (None, None, None):
        return
    if not distributed and None in explicit:
        raise UserError(
            "--coordinator_address, --num_processes and --process_id go together "
            "(or --distributed alone)"
        )
    try:
        jax.distributed.initialize(*explicit)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes ({str(error).splitlines()[0]}): set "
            "--coordinator_address=HOST:PORT of process 0, --num_processes and --process_id"
        ) from error


def is_writer() -> bool:
    """Whether this process writes the log, the sheets and the configuration.

    For checkpoints, Orbax makes its own choice.
    """
    return jax.process_index() == 0


@contextlib.contextmanager
def writer_first(marker: Path) -> Iterator[None]:
    """Runs the block in the writer before all other processes, for example to build a data set.

    Args:
        marker: a file that the writer creates afterwards, for which the others wait. JAX's
            barrier is no alternative, because it times out before a large data set is built.
    """
    while not is_writer() and not marker.exists():
        time.sleep(0.5)
    yield
    if jax.process_count() > 1 and is_writer():
        marker.touch()


class StopSignal:
    """Detects a SIGTERM, in all processes after the same step."""

    def __init__(self):
        """Handles SIGTERM from now on."""
        self._received = []
        # With several processes JAX handles the signal, and notifies the others.
        if jax.process_count() == 1:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGTERM, lambda number, frame: self._received.append(number))

    def after(self, step: int) -> bool:
        """Whether to stop after `step`. Every process has to call this once per step."""
        if jax.process_count() == 1:
            return bool(self._received)
        return multihost_utils.reached_preemption_sync_point(step)
