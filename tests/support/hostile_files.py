"""Pieces of files that attack a reader, and the way in which it has to refuse them."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from dice_jax.errors import UserError
from dice_jax.untrusted_files import budget

MEBIBYTE = 2**20


def refused(read, path, match=".") -> str:
    """The one line with which a reader refuses a file; it takes no memory beyond the budget."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=match) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "Traceback" not in message
    assert peak < budget.Budget.of(path).limit + 4 * MEBIBYTE
    return message


def text(value: str) -> bytes:
    """The opcode that pushes a text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def small(number: int) -> bytes:
    """The opcode that pushes an integer of 32 bits."""
    return b"J" + struct.pack("<i", number)


def reduce(module: str, name: str, *arguments: bytes) -> bytes:
    """Opcodes that call a name of a module with arguments."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    """An archive with these contents by name; returns its path."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy_bytes(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()
