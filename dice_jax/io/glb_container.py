"""The container of binary glTF 2.0 (GLB): accessors into one binary chunk, and the file itself."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax.io import atomic

# Component types, glTF 2.0 section 3.6.2.2.
_COMPONENTS = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125, np.dtype(np.uint8): 5121}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class BinaryChunk:
    """The binary part of the file, with the accessors and buffer views that point into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add(
        self, values: np.ndarray, *, bounds: bool = False, target: int | None = ARRAY_BUFFER
    ) -> int:
        """Appends an array.

        Args:
            values: (N,) or (N, components); floating point, or indices, or uint8 as it is. Four
                components of uint8, so that rows begin at multiples of 4 bytes.
            bounds: whether to store the minimum and maximum, which the format requires of
                positions and of the times of an animation.
            target: kind of the buffer view; None for what is no attribute of vertices.

        Returns:
            The index of its accessor.
        """
        if values.dtype != np.uint8:
            is_float = np.issubdtype(values.dtype, np.floating)
            values = values.astype(np.float32 if is_float else np.uint32)
        values = np.ascontiguousarray(values)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENTS[values.dtype],
            "count": len(values),
            "type": _TYPES[1 if values.ndim == 1 else values.shape[1]],
        }
        if bounds:
            columns = values.reshape(len(values), -1)
            accessor |= {"min": columns.min(axis=0).tolist(), "max": columns.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.data += values.tobytes()
        return len(self.accessors) - 1


def write(path: str | Path, document: dict[str, Any], binary: BinaryChunk) -> None:
    """Writes a GLB: the document, completed by `binary`; the file is complete or absent."""
    document = {
        "asset": {"version": "2.0", "generator": "dice_jax"},
        **document,
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(binary.data), b"BIN\0") + binary.data
    atomic.write_bytes(path, struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
