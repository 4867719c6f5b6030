"""Feeds damaged and hostile input to every parser of the package.

  python -m tools.fuzz                          1,000 cases of every target
  python -m tools.fuzz images npz --cases 100   of two of them
  python -m tools.fuzz pickles --seed 3 --first 812 --cases 1    one case again

Each target runs in a process of its own, with a limit on its memory and on the time of each case.
A case passes if the input is read, or refused by a ValueError or an OSError of one line. It fails
with any other exception, an end of the process, code of the file that ran, too much time, or more
than 1 GiB beyond the budget of `dice_jax.untrusted_files.budget`. A table is printed; the exit code
is 1 if a case failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from tools.fuzz import child

_FIELDS = ("cases", "read", "refused", "failed", "seconds", "MiB")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the targets one after the other; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(child.names())}")
    add("--cases", type=int, default=1000, help="of each target (default: 1000)")
    add("--first", type=int, default=0, help="number of the first case (default: 0)")
    add("--seed", type=int, default=0, help="(default: 0)")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.targets) - set(child.names())):
        parser.error(f"no target {unknown[0]!r}: choose from {', '.join(child.names())}")

    print(f"{'target':16}", *(f"{field:>8}" for field in _FIELDS))
    failures = []
    for name in args.targets or child.names():
        failures += run_target(name, args.first, args.cases, args.seed)
    print(*failures, sep="\n")
    return 1 if failures else 0


def run_target(name: str, first: int, cases: int, seed: int) -> list[str]:
    """Runs cases in child processes, a new one after each that ended; prints a line of the table.

    Returns:
        One line for each case that failed.
    """
    start, failures, counts = time.monotonic(), [], dict.fromkeys(("read", "refused"), 0)
    number, last, memory = first, first + cases, 0.0
    while number < last:
        words = [name, str(seed), str(number), str(last)]
        command = [sys.executable, "-m", "tools.fuzz.child", *words]
        process = subprocess.run(command, capture_output=True, text=True, errors="replace")
        reported = [line.split("\t") for line in process.stdout.splitlines() if "\t" in line]
        for word, case, *detail in reported:
            if word in counts:
                counts[word] += 1
            elif word == "memory":
                memory = max(memory, float(case))
            elif word == "failed":
                failures.append(f"{name}, seed {seed}, case {case}: {detail[0]}")
        done = [int(case) for word, case, *_ in reported if word in (*counts, "failed")]
        number = max(done, default=number - 1) + 1
        if process.returncode and number < last:
            ending = (process.stderr.strip().splitlines() or [""])[-1][:200]
            failures.append(
                f"{name}, seed {seed}, case {number}: ended with {process.returncode}: {ending}"
            )
            number += 1
    if memory > child.MEMORY:
        failures.append(f"{name}, seed {seed}: {memory:.0f} MiB more than before")
    seconds = time.monotonic() - start
    row = (cases, counts["read"], counts["refused"], len(failures))
    print(f"{name:16}", *(f"{n:8}" for n in row), f"{seconds:8.1f} {memory:8.0f}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
