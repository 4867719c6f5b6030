"""Binary glTF 2.0 (GLB): named meshes with normals, vertex colors, per-vertex values and morph
targets.

Written here rather than through a mesh library because the dent in the skin belongs in the file as
a morph target, which Blender opens as a shape key, and the contact as a vertex attribute.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dice_jax.io.meshes import NamedMesh

_FLOAT, _UINT32 = 5126, 5125  # component types, glTF 2.0 section 3.6.2.2
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3"}
# glTF is y up with z out of the screen; camera axes are y down with z into it: half a turn about x.
_CAMERA_TO_GLTF = np.array([1.0, -1.0, -1.0], np.float32)


def write_glb(path: str | Path, meshes: Sequence[NamedMesh], extras: dict | None = None) -> None:
    """Writes one node for each mesh, all under the root of one scene, in meters.

    Args:
        path: the .glb file.
        meshes: in camera axes.
        extras: JSON values to keep with the scene.
    """
    chunks = _Chunks()
    nodes = [{"name": mesh.name, "mesh": i} for i, mesh in enumerate(meshes)]
    document = {
        "asset": {"version": "2.0", "generator": "dice_jax"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes))), "extras": extras or {}}],
        "nodes": nodes,
        "meshes": [_mesh(mesh, chunks) for mesh in meshes],
        "materials": [
            {
                "name": "skin",
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7},
                "doubleSided": True,
            }
        ],
        "accessors": chunks.accessors,
        "bufferViews": chunks.views,
        "buffers": [{"byteLength": len(chunks.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(chunks.data), b"BIN\0")
        + chunks.data
    )
    Path(path).write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)


def _mesh(mesh: NamedMesh, chunks: _Chunks) -> dict:
    """One mesh object; custom attributes start with an underscore, as the format asks."""
    attributes = {
        "POSITION": chunks.add(mesh.vertices * _CAMERA_TO_GLTF, bounds=True),
        "NORMAL": chunks.add(_unit(mesh.normals() * _CAMERA_TO_GLTF)),
        "COLOR_0": chunks.add(_srgb_to_linear(mesh.colors)),
    }
    for name, values in mesh.attributes.items():
        attributes[f"_{name.upper()}"] = chunks.add(values)
    primitive = {
        "attributes": attributes,
        "indices": chunks.add(mesh.faces.reshape(-1), target=_ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "mode": 4,
    }
    document = {"name": mesh.name, "primitives": [primitive]}
    if mesh.morphs:
        primitive["targets"] = [
            {"POSITION": chunks.add(offsets * _CAMERA_TO_GLTF, bounds=True)}
            for offsets in mesh.morphs.values()
        ]
        document["weights"] = [0.0] * len(mesh.morphs)
        document["extras"] = {"targetNames": list(mesh.morphs)}  # read by Blender and three.js
    return document


class _Chunks:
    """The binary part of the file while it grows, with the accessors and buffer views into it."""

    def __init__(self):
        self.data = b""
        self.accessors: list[dict] = []
        self.views: list[dict] = []

    def add(self, values: np.ndarray, *, bounds: bool = False, target: int = _ARRAY_BUFFER) -> int:
        """Appends an array, (N,) or (N, 3), floats or indices; returns the index of its accessor."""
        kind = np.float32 if np.issubdtype(values.dtype, np.floating) else np.uint32
        values = np.ascontiguousarray(values, kind)
        self.views.append(
            {
                "buffer": 0,
                "byteOffset": len(self.data),
                "byteLength": values.nbytes,
                "target": target,
            }
        )
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": _FLOAT if kind is np.float32 else _UINT32,
            "count": len(values),
            "type": _TYPES[1 if values.ndim == 1 else values.shape[1]],
        }
        if bounds:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.data += values.tobytes()
        return len(self.accessors) - 1


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Unit length to the last bit of float32; a vertex of no face points at the viewer."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(
        length > 0, vectors / np.where(length > 0, length, 1.0), np.array([0.0, 0.0, 1.0])
    )


def _srgb_to_linear(colors: np.ndarray) -> np.ndarray:
    """COLOR_0 is linear (glTF 2.0, section 3.9.2), every other format and screen takes sRGB."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
