"""An independent reader of GLB files with skins: poses the meshes as the glTF standard says."""

from __future__ import annotations

import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation

_KINDS = {5126: "<f4", 5125: "<u4", 5121: "u1"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A loaded file. Change `nodes` or `weights` to pose it."""

    def __init__(self, path) -> None:
        data = path.read_bytes()
        length = struct.unpack_from("<I", data, 12)[0]
        self.document = json.loads(data[20 : 20 + length])
        self.binary = data[28 + length :]
        self.nodes = self.document["nodes"]
        self.weights = {mesh["name"]: mesh.get("weights", []) for mesh in self.document["meshes"]}

    def array(self, index: int) -> np.ndarray:
        """(N, components) of an accessor."""
        accessor = self.document["accessors"][index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        data = self.binary[view["byteOffset"] :][: view["byteLength"]]
        values = np.frombuffer(data, _KINDS[accessor["componentType"]])
        return values.reshape(accessor["count"], _WIDTHS[accessor["type"]])

    def node(self, name: str) -> dict:
        return next(node for node in self.nodes if node["name"] == name)

    def world(self) -> list[np.ndarray]:
        """The global transform of every node, (4, 4)."""
        matrices: list[np.ndarray] = [np.eye(4)] * len(self.nodes)

        def visit(index, above):
            node, local = self.nodes[index], np.eye(4)
            local[:3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
            local[:3, :3] *= node.get("scale", [1, 1, 1])
            local[:3, 3] = node.get("translation", [0, 0, 0])
            matrices[index] = above @ local
            for child in node.get("children", []):
                visit(child, matrices[index])

        for root in self.document["scenes"][0]["nodes"]:
            visit(root, np.eye(4))
        return matrices

    def posed(self, name: str) -> np.ndarray:
        """Vertices of a skinned mesh in the scene, section 3.7.3."""
        node = self.node(name)
        mesh = self.document["meshes"][node["mesh"]]
        primitive = mesh["primitives"][0]
        attributes = primitive["attributes"]
        vertices = self.array(attributes["POSITION"]).astype(float)
        for weight, target in zip(self.weights[name], primitive.get("targets", [])):
            vertices = vertices + weight * self.array(target["POSITION"])
        skin = self.document["skins"][node["skin"]]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        world = self.world()
        joints = np.stack([world[joint] for joint in skin["joints"]]) @ inverse
        homogeneous = np.column_stack([vertices, np.ones(len(vertices))])
        result = np.zeros((len(vertices), 4))
        for k in (0, 1):
            if f"JOINTS_{k}" in attributes:
                ids, weights = (self.array(attributes[f"{x}_{k}"]) for x in ("JOINTS", "WEIGHTS"))
                for column in range(4):
                    moved = np.einsum("vab,vb->va", joints[ids[:, column]], homogeneous)
                    result += weights[:, column, None] * moved
        return result[:, :3]
