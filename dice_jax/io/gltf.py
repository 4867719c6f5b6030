"""Binary glTF 2.0 (GLB): meshes with normals, colors, vertex attributes and morph targets.

Mesh libraries do not write morph targets. Here the deformation is one, which Blender opens as a
shape key, and contact is a vertex attribute.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax.io import atomic
from dice_jax.io.meshes import NamedMesh

_FLOAT, _UINT32 = 5126, 5125  # component types, glTF 2.0 section 3.6.2.2
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
# From camera axes (y down, z away from the camera) to glTF's (y up, z towards the viewer).
CAMERA_TO_GLTF = np.array([1.0, -1.0, -1.0], np.float32)


def write_glb(
    path: str | Path, meshes: Sequence[NamedMesh], extras: Mapping[str, Any] | None = None
) -> None:
    """Writes a scene with one node for each mesh.

    Args:
        path: the .glb file.
        meshes: camera axes, meters.
        extras: JSON values to store with the scene.
    """
    binary = _BinaryChunk()
    nodes = [{"name": mesh.name, "mesh": i} for i, mesh in enumerate(meshes)]
    skin = {
        "name": "skin",
        "pbrMetallicRoughness": {
            "baseColorFactor": [1.0, 1.0, 1.0, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
        "doubleSided": True,
    }
    document = {
        "asset": {"version": "2.0", "generator": "dice_jax"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes))), "extras": dict(extras or {})}],
        "nodes": nodes,
        "meshes": [_mesh(mesh, binary) for mesh in meshes],
        "materials": [skin],
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(binary.data), b"BIN\0") + binary.data
    atomic.write_bytes(path, struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)


def _mesh(mesh: NamedMesh, binary: _BinaryChunk) -> dict:
    """One mesh object; names of custom attributes start with an underscore (section 3.7.2.1)."""
    attributes = {
        "POSITION": binary.add(mesh.vertices * CAMERA_TO_GLTF, bounds=True),
        "NORMAL": binary.add(_unit(mesh.normals() * CAMERA_TO_GLTF)),
        "COLOR_0": binary.add(_with_alpha(_srgb_to_linear(mesh.colors))),
    }
    for name, values in mesh.attributes.items():
        attributes[f"_{name.upper()}"] = binary.add(values)
    primitive = {
        "attributes": attributes,
        "indices": binary.add(mesh.faces.reshape(-1), target=_ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "mode": 4,
    }
    document = {"name": mesh.name, "primitives": [primitive]}
    if mesh.morphs:
        primitive["targets"] = [
            {"POSITION": binary.add(offsets * CAMERA_TO_GLTF, bounds=True)}
            for offsets in mesh.morphs.values()
        ]
        document["weights"] = [0.0] * len(mesh.morphs)
        document["extras"] = {"targetNames": list(mesh.morphs)}  # read by Blender and three.js
    return document


class _BinaryChunk:
    """The binary part of the file, with the accessors and buffer views that point into it."""

    def __init__(self) -> None:
        self.data = b""
        self.accessors: list[dict] = []
        self.views: list[dict] = []

    def add(self, values: np.ndarray, *, bounds: bool = False, target: int = _ARRAY_BUFFER) -> int:
        """Appends an array.

        Args:
            values: (N,), (N, 3) or (N, 4), floating point or indices.
            bounds: whether to store the minimum and maximum, which the format requires of
                positions.
            target: kind of the buffer view.

        Returns:
            The index of its accessor.
        """
        is_float = np.issubdtype(values.dtype, np.floating)
        values = np.ascontiguousarray(values, np.float32 if is_float else np.uint32)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append(view | {"target": target})
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": _FLOAT if is_float else _UINT32,
            "count": len(values),
            "type": _TYPES[1 if values.ndim == 1 else values.shape[1]],
        }
        if bounds:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.data += values.tobytes()
        return len(self.accessors) - 1


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1; zero vectors become the z axis, as the format requires units."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units = vectors / np.where(length > 0, length, 1.0)
    return np.where(length > 0, units, np.array([0.0, 0.0, 1.0]))


def _with_alpha(colors: np.ndarray) -> np.ndarray:
    """Opaque colors with four channels, without which trimesh cannot export what it has read."""
    return np.concatenate([colors, np.ones((len(colors), 1))], axis=1)


def _srgb_to_linear(colors: np.ndarray) -> np.ndarray:
    """COLOR_0 is linear RGB (glTF 2.0, section 3.9.2); other formats and screens use sRGB."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
