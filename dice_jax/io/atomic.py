"""Writes files that are complete or absent, never partial."""

from __future__ import annotations

import contextlib
import contextvars
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Finished files of the present `together`, under their temporary names, and their places.
_waiting: contextvars.ContextVar[list[tuple[Path, Path]] | None] = contextvars.ContextVar(
    "waiting", default=None
)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, renamed to `path` if the block raises no error.

    The temporary name keeps the suffix, from which image and mesh writers choose the format.

    Inside of `together`, it is renamed at the end of that block.

    Raises:
        OSError: the file cannot be written; it names `path` and the reason, such as a full disk.
    """
    path, waiting = Path(path), _waiting.get()
    with _named(path):
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp creates files that only their owner can read.
            temporary.chmod(0o666 & ~_umask())
            _flush(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if waiting is not None:
            waiting.append((temporary, path))
        else:
            temporary.replace(path)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Lets the files that are written inside of the block appear together at its end, or none.

    Raises:
        OSError: a file cannot be written; no file has changed then. Or a finished one cannot get
            its name, because a folder has it for instance; those before it have theirs then.
    """
    files: list[tuple[Path, Path]] = []
    token = _waiting.set(files)
    try:
        yield
        for temporary, path in files:
            with _named(path):
                temporary.replace(path)
    finally:
        _waiting.reset(token)
        for temporary, _ in files:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OSError: see `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
        OSError: see `atomic_path`.
    """
    write_bytes(path, text.encode())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Lets an error of the disk name `path` instead of a temporary file or of no file at all."""
    try:
        yield
    except OSError as error:
        about_another = error.filename is not None and not _is_temporary_of(path, error.filename)
        if error.errno is None or about_another:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _is_temporary_of(path: Path, name: str | bytes | int) -> bool:
    found = Path(os.fsdecode(name)) if not isinstance(name, int) else Path()
    return found in (path, path.parent) or found.name.startswith(f".{path.stem}.")


def _flush(path: Path) -> None:
    """Waits until the contents are on the disk, so that a rename never precedes them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def writable_folder(path: str | Path) -> Path:
    """Makes a folder and checks that files can be written to it, before any long work.

    Raises:
        ValueError: the folder cannot be made, or files cannot be written to it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to the folder {path}: {error.strerror}") from None
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
