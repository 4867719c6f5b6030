"""Reads zip archives whose members are known, and charged to a budget, before they are inflated."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator

from dice_jax.untrusted_files.budget import Budget

_MAX_DIRECTORY = 4 * 2**20  # bytes of the table of members; Python makes ten times as much of it
# What Python raises on a damaged archive.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)


@contextlib.contextmanager
def open_archive(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """Opens an archive for reading.

    Raises:
        zipfile.BadZipFile: it is none, or has a member twice, encrypted or under a rare method of
            compression.
    """
    with open(path, "rb") as file:
        end = zipfile._EndRecData(file)  # pyright: ignore[reportAttributeAccessIssue]
        if not end:
            raise zipfile.BadZipFile("it is no zip archive")
        if end[zipfile._ECD_SIZE] > _MAX_DIRECTORY:  # pyright: ignore[reportAttributeAccessIssue]
            raise zipfile.BadZipFile("it has too many members")
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise zipfile.BadZipFile("it has two members of one name")
            for member in archive.infolist():
                # The other methods may take gigabytes for their dictionaries.
                known = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                if not known or member.flag_bits & 1:
                    raise zipfile.BadZipFile(
                        f"{member.filename[:80]} is encrypted or compressed in an unknown way"
                    )
            yield archive


def read_member(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytes:
    """Reads one member, which is charged to the budget by its declared size before.

    No more than the declared size is ever inflated.

    Raises:
        KeyError: no such member.
        zipfile.BadZipFile: its checksum or its size is wrong.
        TooLargeError: the budget is spent.
    """
    info = archive.getinfo(name)
    budget.charge(info.file_size)
    with archive.open(info) as member:
        data = member.read()
    if len(data) != info.file_size:
        raise zipfile.BadZipFile(f"{name} has {len(data)} bytes of {info.file_size}")
    return data
