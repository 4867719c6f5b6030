"""Reads `.safetensors`, the weight format of timm and Hugging Face: a JSON table and raw bytes."""

from __future__ import annotations

import json
import os
import struct

import jax.numpy as jnp
import numpy as np

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
        ValueError: the file is damaged or of another format.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weights at {path}")
    data = np.memmap(path, np.uint8, "r") if os.path.getsize(path) else np.zeros(0, np.uint8)
    try:
        (length,) = struct.unpack("<Q", data[:8].tobytes())
        if length > data.size:
            raise ValueError(f"its table has {length} bytes, the file {data.size}")
        table = json.loads(data[8 : 8 + length].tobytes())
        table.pop("__metadata__", None)
        return {name: _tensor(data[8 + length :], **entry) for name, entry in table.items()}
    except (struct.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a safetensors file, or is damaged ({error}): fetch it again"
        ) from error


def _tensor(data, dtype, shape, data_offsets):
    begin, end = data_offsets
    if not 0 <= begin <= end <= data.size:
        raise ValueError(f"a tensor is at bytes {begin} to {end} of {data.size}")
    return data[begin:end].view(np.dtype(_DTYPES[dtype])).reshape(shape)
