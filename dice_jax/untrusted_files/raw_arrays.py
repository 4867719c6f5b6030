"""Arrays from a declared type, a declared shape and bytes, none of which is trusted.

NumPy's own dtype objects can be given a state that makes it read beyond its memory, or take bytes
for pointers. Here a dtype is made from a kind and a size of a list, and an array is made only when
the bytes are exactly as many as its type and shape need.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from dice_jax.untrusted_files.budget import Budget

_NAME = re.compile(r"([<>=|]?)([biufcSUaO?])(\d{0,5})")
_SIZES = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8),
    "c": (8, 16),
    "O": (4, 8),  # of a pointer where the file was written
    "S": range(1, 2**16),
    "U": range(1, 2**14),
}
_MAX_DIMENSIONS = 32
_MAX_DIMENSION = 2**40
# Characters that NumPy and Python cannot hold are refused: a "U" array with them raises later.
_MAX_CHARACTER = 0x10FFFF


def plain_dtype(name: Any) -> np.dtype:
    """The dtype of a name such as "<f4": numbers, truth values, text, or "O" for objects.

    Args:
        name: as NumPy writes it.

    Raises:
        ValueError: any other type: structured, void, dates, or a size that does not exist.
    """
    if isinstance(name, bytes):
        name = name.decode("latin1")
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"an array of type {str(name)[:40]}")
    order, kind, digits = match.groups()
    size = int(digits) if digits else {"O": 8, "?": 1}.get(kind, 0)
    kind = {"a": "S", "?": "b"}.get(kind, kind)
    if size not in _SIZES[kind]:
        raise ValueError(f"an array of type {name}")
    return np.dtype("O") if kind == "O" else np.dtype(f"{order.replace('|', '')}{kind}{size}")


def plain_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple of integers.

    Raises:
        ValueError: it has too many dimensions, or one that no array can have.
    """
    if isinstance(shape, int | np.integer) and not isinstance(shape, bool):
        shape = (shape,)
    sizes = plain_sizes(shape)
    # The product without the zeros, since NumPy multiplies before it looks for one.
    if math.prod(n for n in sizes if n) > _MAX_DIMENSION:
        raise ValueError(f"an array of shape {str(sizes)[:80]}")
    return sizes


def plain_sizes(values: Any) -> tuple[int, ...]:
    """Sizes or strides of an array as a tuple of integers. The product of strides may be anything.

    Raises:
        ValueError: there are too many, or one is no size.
    """
    if not isinstance(values, tuple | list) or len(values) > _MAX_DIMENSIONS:
        raise ValueError("an array whose shape is no list of sizes")
    for size in values:
        if not isinstance(size, int | np.integer) or isinstance(size, bool):
            raise ValueError(f"an array with a dimension {str(size)[:20]}")
        if not 0 <= size <= _MAX_DIMENSION:
            raise ValueError(f"an array with a dimension {str(size)[:20]}")
    return tuple(int(size) for size in values)


def num_bytes(dtype: np.dtype, shape: Iterable[int]) -> int:
    """Bytes of an array."""
    return math.prod(shape) * dtype.itemsize


def array_of(
    data: bytes | bytearray | memoryview,
    dtype: np.dtype,
    shape: tuple[int, ...],
    order: str,
    budget: Budget,
) -> np.ndarray:
    """A new array, in native byte order, from exactly its bytes.

    Args:
        data: the bytes.
        dtype: of `plain_dtype`, without objects.
        shape: of `plain_shape`.
        order: "C" or "F".
        budget: of the file; the array is charged to it before it is made.

    Raises:
        ValueError: more or fewer bytes than the array has, or text that is no text.
        TooLargeError: the budget is spent.
    """
    expected = num_bytes(dtype, shape)
    if dtype.hasobject or len(data) != expected:
        raise ValueError(f"{len(data)} bytes for an array of {expected}")
    budget.charge(expected)
    if dtype.kind == "b":  # any byte but 0 and 1 would be neither true nor false to NumPy
        flat = np.frombuffer(data, np.uint8) != 0
    else:
        flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    if dtype.kind == "U" and flat.size and flat.view(np.uint32).max() > _MAX_CHARACTER:
        raise ValueError("text with characters that do not exist")
    return flat.reshape(shape, order="F" if order == "F" else "C")
