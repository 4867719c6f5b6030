"""Runs the cases of one target in this process and prints a line for each.

python -m tools.fuzz.child TARGET SEED FIRST LAST
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

SECONDS = 30  # for a case
MEMORY = 256 + 1024  # MiB beyond the process before the first case: the budget, and 1 GiB
_ADDRESSES = 6 * 2**30  # bytes beyond those before; protects the computer


class TimeUpError(BaseException):
    """A case took too long. No parser catches it."""


def names() -> list[str]:
    """The targets."""
    from tools.fuzz.targets import TARGETS

    return list(TARGETS)


def run(name: str, seed: int, first: int, last: int) -> None:
    """Runs cases and prints "read", "refused" or "failed" for each, and the memory in the end."""
    from tools.fuzz.targets import CANARY, REFUSALS, TARGETS

    warnings.simplefilter("ignore")
    target, number = TARGETS[name], sorted(TARGETS).index(name)
    import numpy as np

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _limit_addresses()
    signal.signal(signal.SIGALRM, _time_is_up)
    for case in range(first, last):
        rng = np.random.default_rng((seed, number, case))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            given = target.make(_subfolder(folder), rng)
            signal.alarm(SECONDS)
            # A loop in compiled code is not interrupted: the process ends.
            faulthandler.dump_traceback_later(2 * SECONDS, exit=True, file=sys.__stderr__)
            try:
                with _silence():
                    target.read(given)
                result = "read"
            except REFUSALS as error:
                lines = str(error).strip().splitlines()
                result = "refused" if len(lines) == 1 else f"failed: a message of {lines!r:.300}"
            except TimeUpError:
                result = f"failed: more than {SECONDS} s"
            except BaseException as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                result = f"failed: {type(error).__name__} at {place.filename}:{place.lineno}: "
                result += " ".join(str(error).split())[:200]
            finally:
                signal.alarm(0)
                faulthandler.cancel_dump_traceback_later()
            if os.path.exists(CANARY):
                result = "failed: code of the file was run"
        word, _, detail = result.partition(": ")
        print(word, case, detail, sep="\t", flush=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print("memory", grown / 1024, sep="\t", flush=True)


def _subfolder(folder: str) -> Path:
    path = Path(folder) / "input"
    path.mkdir()
    return path


def _limit_addresses() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _time_is_up(*_: object) -> None:
    raise TimeUpError


@contextlib.contextmanager
def _silence():
    """Catches what parsers of command lines print."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    run(sys.argv[1], *map(int, sys.argv[2:]))
