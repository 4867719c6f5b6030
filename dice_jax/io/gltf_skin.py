"""GLB files that Blender and three.js can pose: meshes at rest, skeletons as skins, morph targets.

A loaded scene stands in the pose of the photo, because the nodes of the joints have its rotations.
A reader that knows no skins shows the meshes at rest, all at the origin; `gltf` writes for those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dice_jax.io import glb_container, gltf
from dice_jax.io.glb_container import BinaryChunk
from dice_jax.io.meshes import NamedMesh

# Half a turn about x: from camera axes (y down, z away) to glTF's; x, y, z, w.
CAMERA_TURN = [1.0, 0.0, 0.0, 0.0]
_PER_SET = 4  # joints of a vertex in one attribute, glTF 2.0 section 3.7.3.1


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Joints at rest and in a pose.

    Attributes:
        names: of the joints.
        parents: the parent of each joint, before its children; -1 for the root.
        rest_joints: positions at rest, meters.
        rotations: of each joint relative to its parent; that of the root in camera axes.
        transl: meters; the root joint stands at `rest_joints[0] + transl`.
        weights: skinning weights; rows sum to 1.
    """

    names: Sequence[str]
    parents: Sequence[int]
    rest_joints: Float[np.ndarray, "J 3"]
    rotations: Float[np.ndarray, "J 3 3"]
    transl: Float[np.ndarray, "3"]
    weights: Float[np.ndarray, "V J"]


@dataclasses.dataclass(frozen=True)
class RiggedMesh:
    """A mesh at rest with its skeleton.

    Attributes:
        mesh: in the axes of the body model, meters.
        skeleton: poses it.
        morph_weights: of the mesh's morphs in the pose of the skeleton, by name.
    """

    mesh: NamedMesh
    skeleton: Skeleton
    morph_weights: Mapping[str, float]


def write_rig(
    path: str | Path, parts: Sequence[RiggedMesh], extras: Mapping[str, Any] | None = None
) -> None:
    """Writes a GLB with a skin for each mesh; the file is complete or absent.

    Args:
        path: the .glb file.
        parts: hands and head.
        extras: JSON values to store with the scene.
    """
    binary = BinaryChunk()
    root: dict[str, Any] = {"name": "camera_axes", "rotation": CAMERA_TURN, "children": []}
    nodes, meshes, skins = [root], [], []
    for number, part in enumerate(parts):
        first = len(nodes)
        root["children"].append(first)
        nodes += joint_nodes(part.skeleton, first)
        skins.append(skin_object(part, first, binary))
        meshes.append(skinned_mesh(part, binary))
        nodes.append({"name": part.mesh.name, "mesh": number, "skin": number})
    document = {
        "scene": 0,
        "scenes": [
            {
                "nodes": [i for i, node in enumerate(nodes) if node is root or "mesh" in node],
                "extras": dict(extras or {}),
            }
        ],
        "nodes": nodes,
        "meshes": meshes,
        "skins": skins,
        "materials": [gltf.MATERIAL],
    }
    glb_container.write(path, document, binary)


def joint_nodes(skeleton: Skeleton, first: int) -> list[dict[str, Any]]:
    """A node for each joint; `first` is the index of the root's."""
    quaternions = Rotation.from_matrix(np.asarray(skeleton.rotations, np.float64)).as_quat()
    nodes = []
    for joint, parent in enumerate(skeleton.parents):
        bone = skeleton.rest_joints[joint] - (
            skeleton.rest_joints[parent] if parent >= 0 else -skeleton.transl
        )
        children = [first + i for i, above in enumerate(skeleton.parents) if above == joint]
        nodes.append(
            {
                "name": skeleton.names[joint],
                "translation": [float(x) for x in bone],
                "rotation": [float(x) for x in quaternions[joint]],
            }
            | ({"children": children} if children else {})
        )
    return nodes


def skin_object(part: RiggedMesh, first: int, binary: BinaryChunk) -> dict[str, Any]:
    """The skin of a mesh; `first` is the index of the root joint's node."""
    joints = part.skeleton.rest_joints
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    inverse_bind[:, 3, :3] = -joints  # matrices are stored column by column
    return {
        "name": part.mesh.name,
        "inverseBindMatrices": binary.add(inverse_bind.reshape(-1, 16), target=None),
        "joints": list(range(first, first + len(joints))),
        "skeleton": first,
    }


def skinned_mesh(part: RiggedMesh, binary: BinaryChunk) -> dict[str, Any]:
    """The mesh object with the weights of its skin and of its morphs."""
    document = gltf.mesh_object(part.mesh, binary)
    attributes = document["primitives"][0]["attributes"]
    weights = np.asarray(part.skeleton.weights, np.float32)
    sets = max(1, -(-int((weights > 0).sum(axis=1).max()) // _PER_SET))
    order = np.argsort(-weights, axis=1, kind="stable")[:, : sets * _PER_SET]
    largest = np.take_along_axis(weights, order, axis=1)
    missing = sets * _PER_SET - order.shape[1]
    order = np.pad(np.where(largest > 0, order, 0), ((0, 0), (0, missing)))
    largest = np.pad(largest, ((0, 0), (0, missing)))
    largest /= largest.sum(axis=1, keepdims=True)
    for number in range(sets):
        columns = np.s_[:, number * _PER_SET : (number + 1) * _PER_SET]
        attributes[f"JOINTS_{number}"] = binary.add(order[columns].astype(np.uint8))
        attributes[f"WEIGHTS_{number}"] = binary.add(largest[columns])
    if part.mesh.morphs:
        document["weights"] = [float(part.morph_weights.get(x, 0.0)) for x in part.mesh.morphs]
    return document
