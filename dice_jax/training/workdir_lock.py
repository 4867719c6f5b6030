"""One run at a time in a workdir: two would overwrite each other's checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from dice_jax.errors import UserError

FILE = ".lock"


@contextlib.contextmanager
def workdir_lock(workdir: str | Path) -> Iterator[None]:
    """Holds a workdir while the block runs.

    The operating system frees the lock of a process that ends, however it ends. A lock that a
    computer left behind which shares the folder and no locks is recognized by its name in the file.

    Args:
        workdir: an existing folder.

    Raises:
        UserError: another run holds it; the message has its process and its computer.
    """
    path = Path(workdir) / FILE
    with path.open("a+") as file:
        owner = _owner(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{workdir} is in use by {owner or 'another process'}: wait for it, stop it, or "
                "use another --workdir"
            ) from None
        except OSError:  # a file system without locks
            owner = None
        if owner and f"on {socket.gethostname()}" not in owner:
            raise UserError(
                f"{workdir} is in use by {owner}: use another --workdir, or delete {path} if that "
                "run has ended"
            )
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _owner(path: Path) -> str | None:
    """Who holds the lock, from its file; None where nobody is named."""
    try:
        found = json.loads(path.read_text())
        return f"process {int(found['pid'])} on {str(found['host'])[:80]}"
    except (ValueError, KeyError, TypeError):
        return None
