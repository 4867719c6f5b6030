"""Checks text files: one newline at the end, no trailing spaces, no carriage returns.

  python tools/check_text_files.py README.md dice_jax/structs.py
  python tools/check_text_files.py --max_bytes 1000000 docs/images/samples.jpg

With --max_bytes the size of the files is checked instead. Exits with 1 if a file is at fault.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--max_bytes", type=int, metavar="N")
    args = parser.parse_args(argv)
    found = 0
    for path in args.files:
        size = path.stat().st_size
        if args.max_bytes is None:
            problems = text_problems(path.read_bytes())
        else:
            problems = iter([f"{size} bytes"] if size > args.max_bytes else [])
        for problem in problems:
            print(f"{path}: {problem}")
            found += 1
    return 1 if found else 0


def text_problems(content: bytes) -> Iterator[str]:
    """One line for each problem of a text file."""
    if b"\r" in content:
        yield "carriage returns"
    if content and not content.endswith(b"\n"):
        yield "no newline at the end"
    if content.endswith(b"\n\n"):
        yield "empty lines at the end"
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.endswith((b" ", b"\t")):
            yield f"line {number} ends with spaces"


if __name__ == "__main__":
    sys.exit(main())
