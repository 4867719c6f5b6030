"""Reads NumPy's `.npy` format: a header that names a type and a shape, then the bytes.

The header is parsed here and its type is one of a list, so that neither a structured type nor a
shape that the file cannot hold reaches NumPy.
"""

from __future__ import annotations

import ast
import os
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import kinds, raw_arrays
from dice_jax.untrusted_files.budget import Budget, TooLargeError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # characters, as NumPy itself has it


class Header(NamedTuple):
    """What a file declares.

    Attributes:
        dtype: of the array; "O" where a pickle follows.
        shape: of the array.
        order: "C" or "F".
        length: of the header, bytes; the contents follow.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    length: int


@runtime_checkable
class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, count: int, /) -> bytes: ...


def read_header(file: Readable) -> Header:
    """Reads the header of an array.

    Args:
        file: at its beginning.

    Raises:
        ValueError: it is none, or its type is not one of `raw_arrays.plain_dtype`.
    """
    start = file.read(8)
    if len(start) != 8 or start[:6] != _MAGIC or start[6] not in (1, 2, 3):
        raise ValueError("it is not a NumPy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"its header has {length} bytes")
    text = file.read(length)
    try:
        header = ast.literal_eval(text.decode("utf-8" if start[6] == 3 else "latin1").strip())
        shape, by_columns = header["shape"], header["fortran_order"]
        dtype = raw_arrays.plain_dtype(header["descr"])
    except (SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    order = "F" if by_columns else "C"
    return Header(dtype, raw_arrays.plain_shape(shape), order, 8 + width + length)


def read_contents(file: Readable, header: Header, size: int, budget: Budget) -> np.ndarray:
    """Reads the array that follows a header.

    Args:
        file: where `read_header` left it.
        header: the header.
        size: of the whole, header and contents, bytes.
        budget: of the file.

    Raises:
        ValueError: it is an array of objects, or longer or shorter than its header says.
        TooLargeError: the budget is spent.
    """
    if header.dtype.hasobject:
        raise ValueError("it is an array of Python objects")
    expected = raw_arrays.num_bytes(header.dtype, header.shape)
    if expected != size - header.length:
        raise ValueError(f"it has {size - header.length} bytes of {expected}")
    budget.fits(budget.spent + expected)
    data = file.read(expected)
    return raw_arrays.array_of(data, header.dtype, header.shape, header.order, budget)


def read_npy(path: str | os.PathLike, remedy: str = "get it again") -> np.ndarray:
    """Reads a plain array from a `.npy` file.

    Args:
        path: the file.
        remedy: what to do about a damaged file, for the message.

    Raises:
        FileNotFoundError: no such file.
        UserError: another kind of file, a damaged one, or one larger than its budget.
    """
    data_size = os.path.getsize(path)
    budget = Budget(data_size)
    try:
        budget.fits(data_size)
        with open(path, "rb") as file:
            return read_contents(file, read_header(file), data_size, budget)
    except TooLargeError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except (ValueError, MemoryError) as error:
        raise UserError(kinds.refusal(path, "a plain array", error, remedy, "npy")) from None


def map_npy(path: str | os.PathLike, remedy: str = "get it again") -> np.ndarray:
    """Memory-maps a plain array of a `.npy` file, however large, for reading.

    Truth values are mapped as uint8.

    Raises:
        FileNotFoundError: no such file.
        UserError: another kind of file, or a damaged one.
    """
    try:
        with open(path, "rb") as file:
            header = read_header(file)
        expected = raw_arrays.num_bytes(header.dtype, header.shape)
        if header.dtype.hasobject:
            raise ValueError("it is an array of Python objects")
        found = os.path.getsize(path) - header.length
        if expected != found:
            raise ValueError(f"it has {found} bytes of {expected}")
        # Other bytes than 0 and 1 are no truth values to NumPy.
        dtype = np.dtype(np.uint8) if header.dtype.kind == "b" else header.dtype
        if not expected:  # an empty file cannot be mapped
            return np.zeros(header.shape, dtype)
        return np.memmap(path, dtype, "r", header.length, header.shape, header.order)
    except ValueError as error:
        raise UserError(kinds.refusal(path, "a plain array", error, remedy, "npy")) from None
