"""Several processes, on one machine or many, as one training: who takes part, who writes, and when
all stop.

Every process runs the same command on its own devices and its own share of each batch. The workdir
lies on a file system that all of them see.
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
    """Connects this process with the others; does nothing unless asked to. Call it before the first
    use of a device.

    Args:
        distributed: ask the cluster (SLURM, Open MPI, Kubernetes, Cloud TPU) for what the other
            arguments leave open.
        coordinator_address: HOST:PORT of process 0.
        num_processes: of the whole training.
        process_id: from 0.

    Raises:
        UserError: neither the cluster nor the arguments say who takes part, or the others cannot be
            reached.
    """
    explicit = (coordinator_address, num_processes, process_id)
    if not distributed and explicit == (None, None, None):
        return
    if not distributed and None in explicit:
        raise UserError(
            "--coordinator_address, --num_processes and --process_id go together (or --distributed alone)"
        )
    try:
        jax.distributed.initialize(*explicit)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes ({str(error).splitlines()[0]}): give --coordinator_address=HOST:PORT of "
            "process 0, --num_processes and --process_id"
        ) from error


def is_writer() -> bool:
    """Whether this is the process that writes logs, sheets and the configuration (checkpoints are
    Orbax's business).
    """
    return jax.process_index() == 0


@contextlib.contextmanager
def writer_first(marker: Path) -> Iterator[None]:
    """Lets the writer through the block before the others, which find done what it did, such as to
    build a data set.

    Args:
        marker: a file that tells the others to go on, and stays. No barrier: that would not wait
            for hours.
    """
    while not is_writer() and not marker.exists():
        time.sleep(0.5)
    yield
    if jax.process_count() > 1 and is_writer():
        marker.touch()


class StopSignal:
    """Whether the training was asked to end (SIGTERM); all processes hear of it after the same
    step.
    """

    def __init__(self):
        self._received = []
        # With several processes JAX's own listener has the signal, and tells the others.
        if jax.process_count() == 1:
            with contextlib.suppress(ValueError):  # only the main thread may listen
                signal.signal(signal.SIGTERM, lambda number, frame: self._received.append(number))

    def after(self, step: int) -> bool:
        """Whether to stop after `step`; to be asked once a step by every process."""
        if jax.process_count() == 1:
            return bool(self._received)
        return multihost_utils.reached_preemption_sync_point(step)
