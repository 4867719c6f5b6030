"""Reads `.safetensors`, the weight format of timm and Hugging Face: a JSON table and raw bytes."""

from __future__ import annotations

import json
import os
import struct

import jax.numpy as jnp
import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import kinds, raw_arrays
from dice_jax.untrusted_files.budget import FACTOR, Budget, TooLargeError

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": jnp.dtype("bfloat16"),
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads all tensors of a file.

    Args:
        path: the file.

    Returns:
        Arrays by name, as views of the memory-mapped file.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another format, or larger than its budget.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weights at {path}")
    size = os.path.getsize(path)
    data = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
    try:
        budget = Budget(size)
        (length,) = struct.unpack("<Q", data[:8].tobytes())
        if length > data.size - 8:
            raise ValueError(f"its table has {length} bytes, the file {data.size}")
        budget.charge(FACTOR * length)  # what Python may make of a table
        table = json.loads(data[8 : 8 + length].tobytes())
        table.pop("__metadata__", None)
        tensors = {}
        for name, entry in table.items():
            tensors[name] = _tensor(data[8 + length :], budget, **entry)
        return tensors
    except TooLargeError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except (
        struct.error,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise UserError(
            kinds.refusal(path, "a safetensors file", error, "fetch it again", "safetensors")
        ) from None


def _tensor(data: np.ndarray, budget: Budget, dtype, shape, data_offsets) -> np.ndarray:
    begin, end = data_offsets
    if not isinstance(begin, int) or not isinstance(end, int) or not 0 <= begin <= end <= data.size:
        raise ValueError("a tensor lies outside of the file")
    sizes, known = raw_arrays.plain_shape(shape), np.dtype(_DTYPES[dtype])
    if raw_arrays.num_bytes(known, sizes) != end - begin:
        raise ValueError("a tensor has more or fewer bytes than its shape")
    budget.charge(end - begin)  # many tensors may share bytes
    raw = data[begin:end]
    return (raw != 0).reshape(sizes) if known.kind == "b" else raw.view(known).reshape(sizes)
