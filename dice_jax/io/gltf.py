"""Binary glTF 2.0 (GLB): meshes with normals, colors, vertex attributes and morph targets.

Mesh libraries do not write morph targets. Here the deformation is one, which Blender opens as a
shape key, and contact is a vertex attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dice_jax.io import glb_container
from dice_jax.io.glb_container import ELEMENT_ARRAY_BUFFER, BinaryChunk
from dice_jax.io.meshes import NamedMesh

MATERIAL = {
    "name": "skin",
    "pbrMetallicRoughness": {
        "baseColorFactor": [1.0, 1.0, 1.0, 1.0],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.7,
    },
    "doubleSided": True,
}
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
    binary = BinaryChunk()
    nodes = [{"name": mesh.name, "mesh": i} for i, mesh in enumerate(meshes)]
    document = {
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes))), "extras": dict(extras or {})}],
        "nodes": nodes,
        "meshes": [mesh_object(mesh, binary, CAMERA_TO_GLTF) for mesh in meshes],
        "materials": [MATERIAL],
    }
    glb_container.write(path, document, binary)


def mesh_object(
    mesh: NamedMesh, binary: BinaryChunk, flip: Float[np.ndarray, "3"] | float = 1.0
) -> dict[str, Any]:
    """One mesh object; names of custom attributes start with an underscore (section 3.7.2.1).

    Args:
        mesh: to write.
        binary: receives its arrays.
        flip: factor of positions, normals and morphs.
    """
    attributes = {
        "POSITION": binary.add(mesh.vertices * flip, bounds=True),
        "NORMAL": binary.add(_unit(mesh.normals() * flip)),
        "COLOR_0": binary.add(_with_alpha(_srgb_to_linear(mesh.colors))),
    }
    for name, values in mesh.attributes.items():
        attributes[f"_{name.upper()}"] = binary.add(values)
    primitive = {
        "attributes": attributes,
        "indices": binary.add(mesh.faces.reshape(-1), target=ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "mode": 4,
    }
    document = {"name": mesh.name, "primitives": [primitive]}
    if mesh.morphs:
        primitive["targets"] = [
            {"POSITION": binary.add(offsets * flip, bounds=True)}
            for offsets in mesh.morphs.values()
        ]
        document["weights"] = [0.0] * len(mesh.morphs)
        document["extras"] = {"targetNames": list(mesh.morphs)}  # read by Blender and three.js
    return document


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
