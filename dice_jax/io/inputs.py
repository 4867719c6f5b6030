"""What a user gives as input files: files, folders with folders in them, patterns, and a list."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dice_jax.io import images

STANDARD_INPUT = "-"


def expand(
    given: Iterable[str | Path],
    leave_out: str | Path | None = None,
    suffixes: Sequence[str] | None = None,
) -> list[Path]:
    """Files, and folders that directly hold some.

    Args:
        given: files; folders, of which all folders inside are taken too, but hidden ones; patterns
            with * ? [ ] and **, where no file has that name; "-" for a list on the standard input,
            one path a line.
        leave_out: a folder that is not searched, that of the results.
        suffixes: of the files that count; None: those of images, of which folders are listed in
            the place of their files.

    Returns:
        Paths in the order of `given`, without repeats. What does not exist is kept; whoever reads
        it raises the error.

    Raises:
        FileNotFoundError: a pattern or a folder without such files, or an empty list.
    """
    found: dict[Path, None] = {}
    for entry in given:
        for path in _listed(entry):
            if path.is_dir():
                inside = list(_inside(path, leave_out, suffixes))
                if not inside and suffixes is not None:
                    raise FileNotFoundError(
                        f"no videos in the folder {path} (looked for {', '.join(suffixes)})"
                    )
                found.update(dict.fromkeys(inside or [path]))
            else:
                found[path] = None
    return list(found)


def _listed(entry: str | Path) -> Iterator[Path]:
    """The paths of one argument."""
    if str(entry) == STANDARD_INPUT:
        lines = [line.strip("\r\n") for line in sys.stdin]
        if not any(lines):
            raise FileNotFoundError("the list on the standard input is empty: one path a line")
        yield from (Path(line) for line in lines if line)
        return
    if glob.has_magic(str(entry)) and not Path(entry).exists():
        matches = sorted(glob.glob(os.path.expanduser(str(entry)), recursive=True))
        if not matches:
            raise FileNotFoundError(f"no file matches the pattern {entry}")
        yield from map(Path, matches)
        return
    yield Path(entry)


def _inside(folder: Path, leave_out, suffixes: Sequence[str] | None) -> Iterator[Path]:
    """Files with the suffixes, or for images the folders that directly hold some."""
    results = None if leave_out is None else Path(leave_out).resolve()
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            inner
            for inner in folders
            if not inner.startswith(".") and (here / inner).resolve() != results
        )
        wanted = images.readable_suffixes() if suffixes is None else suffixes
        matching = sorted(file for file in files if file.lower().endswith(tuple(wanted)))
        if suffixes is not None:
            yield from (here / file for file in matching)
        elif matching:
            yield here
