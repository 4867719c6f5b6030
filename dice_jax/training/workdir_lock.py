"""One run at a time in a workdir: two would overwrite each other's checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dice_jax.errors import UserError

FILE = ".lock"


class _Owner(NamedTuple):
    """The process that a lock file names."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host[:80]}"


@contextlib.contextmanager
def workdir_lock(workdir: str | Path) -> Iterator[None]:
    """Holds a workdir while the block runs.

    The operating system frees the lock of a process that ends, however it ends. Computers may share
    a folder and no locks: there the name of the other computer in the file is respected.

    Args:
        workdir: an existing folder.

    Raises:
        UserError: another run holds it; the message has its process and its computer.
    """
    path = Path(workdir) / FILE
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{workdir} is in use by {_owner(path) or 'another process'}: wait for it, stop "
                "it, or use another --workdir"
            ) from None
        except OSError:  # a file system without locks
            pass
        # Not before the lock: an owner that ends in between leaves its file empty.
        owner = _owner(path)
        if owner and owner.host != socket.gethostname():
            raise UserError(
                f"{workdir} is in use by {owner}: use another --workdir, or delete {path} if that "
                "run has ended"
            )
        file.truncate(0)
        json.dump(_Owner(os.getpid(), socket.gethostname())._asdict(), file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _owner(path: Path) -> _Owner | None:
    """Who holds the lock, from its file; None where nobody is named."""
    try:
        found = json.loads(path.read_text())
        return _Owner(int(found["pid"]), str(found["host"]))
    except (ValueError, KeyError, TypeError):
        return None
