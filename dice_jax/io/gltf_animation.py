"""A film as one GLB: skeletons that move, morph weights, and the camera that filmed them.

Blender and three.js play it. Who is not in a frame, or whose hand is not, has the scale 0 there,
which is how the standard animates visibility (glTF 2.0, section 3.11).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from dice_jax.io import glb_container, gltf, gltf_skin
from dice_jax.io.glb_container import BinaryChunk
from dice_jax.io.gltf_skin import RiggedMesh

_NEAREST = 0.01  # meters, what the camera shows
_STILL = 1e-7  # meters, units of quaternions and weights; what moves less gets no channel


@dataclasses.dataclass(frozen=True)
class RigMotion:
    """A mesh with its skeleton, and how it moves in T frames.

    Attributes:
        rig: at rest, with names that no other mesh and joint of the film has.
        rotations: of each joint relative to its parent; that of the root in camera axes.
        translations: of each joint relative to its parent, meters. They differ from the bones of
            `rig` where the shape changes, as with the expression of a face.
        weights: of the mesh's morphs, in their order.
        present: whether the mesh is there.
    """

    rig: RiggedMesh
    rotations: Float[np.ndarray, "T J 3 3"]
    translations: Float[np.ndarray, "T J 3"]
    weights: Float[np.ndarray, "T K"]
    present: Bool[np.ndarray, "T"]


@dataclasses.dataclass(frozen=True)
class PersonMotion:
    """The meshes of a person, and where the person is.

    Attributes:
        name: of the person.
        origin: of the person's frame in the frame of the camera, meters.
        rigs: of hands and head.
    """

    name: str
    origin: Float[np.ndarray, "T 3"]
    rigs: Sequence[RigMotion]


@dataclasses.dataclass(frozen=True)
class FilmCamera:
    """The pinhole of the film; its center is that of the frames.

    Attributes:
        focal_length: pixels.
        width, height: of the frames, pixels.
    """

    focal_length: float
    width: int
    height: int


def write_film(
    path: str | Path,
    times: Float[np.ndarray, "T"],
    people: Sequence[PersonMotion],
    camera: FilmCamera,
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Writes one animated GLB; the file is complete or absent.

    Args:
        path: the .glb file.
        times: of the frames, seconds, increasing.
        people: in the film.
        camera: sees the scene as the film shows it.
        extras: JSON values to store with the scene.
    """
    film = _Film(times)
    root: dict[str, Any] = {"name": "camera_axes", "rotation": gltf_skin.CAMERA_TURN}
    film.nodes.append(root)
    root["children"] = [film.add_person(person) for person in people]
    film.nodes.append({"name": "film_camera", "camera": 0})
    topmost = [
        index
        for index, node in enumerate(film.nodes)
        if node is root or "mesh" in node or "camera" in node
    ]
    document = {
        "scene": 0,
        "scenes": [{"nodes": topmost, "extras": dict(extras or {})}],
        "nodes": film.nodes,
        "meshes": film.meshes,
        "skins": film.skins,
        "materials": [gltf.MATERIAL],
        "cameras": [_perspective(camera)],
    }
    if film.channels:
        document["animations"] = [
            {"name": "film", "channels": film.channels, "samplers": film.samplers}
        ]
    present = {name: value for name, value in document.items() if value != []}
    glb_container.write(path, present, film.binary)


class _Film:
    """The lists of the document, as they grow."""

    def __init__(self, times) -> None:
        self.binary = BinaryChunk()
        self.times = self.binary.add(np.asarray(times, np.float32), bounds=True, target=None)
        self.nodes, self.meshes, self.skins = [], [], []
        self.channels, self.samplers = [], []

    def add_person(self, person: PersonMotion) -> int:
        """Adds the nodes of a person; returns the index of the topmost one."""
        node: dict[str, Any] = {"name": person.name, "children": []}
        self.nodes.append(node)
        index = len(self.nodes) - 1
        self.move(index, "translation", person.origin)
        node["children"] = [self.add_rig(motion) for motion in person.rigs]
        return index

    def add_rig(self, motion: RigMotion) -> int:
        """Adds a mesh, its joints, and a node above these that hides them."""
        motion = _with_weights_up_to_one(motion)
        name, skeleton = motion.rig.mesh.name, motion.rig.skeleton
        place: dict[str, Any] = {"name": f"{name}_place"}
        self.nodes.append(place)
        first = len(self.nodes)
        index = first - 1
        place["children"] = [first]
        shown = np.repeat(motion.present.astype(np.float32)[:, None], 3, axis=1)
        self.move(index, "scale", shown, interpolation="STEP")
        self.nodes += gltf_skin.joint_nodes(skeleton, first)
        for joint in range(len(skeleton.names)):
            quaternions = _continuous(Rotation.from_matrix(motion.rotations[:, joint]).as_quat())
            self.move(first + joint, "rotation", quaternions)
            self.move(first + joint, "translation", motion.translations[:, joint])
        self.skins.append(gltf_skin.skin_object(motion.rig, first, self.binary))
        self.meshes.append(gltf_skin.skinned_mesh(motion.rig, self.binary))
        number = len(self.meshes) - 1
        self.nodes.append({"name": name, "mesh": number, "skin": number})
        if motion.weights.shape[1]:
            self.move(len(self.nodes) - 1, "weights", motion.weights)
        return index

    def move(self, node: int, path: str, values, interpolation: str = "LINEAR") -> None:
        """Adds a channel, or the value alone where it stays the same."""
        if path != "weights":
            self.nodes[node][path] = np.asarray(values[0], float).tolist()
        if np.ptp(values, axis=0).max() <= _STILL:
            return
        rows = np.asarray(values, np.float32)
        output = rows.reshape(-1) if path == "weights" else rows
        sampler = {
            "input": self.times,
            "output": self.binary.add(output, target=None),
            "interpolation": interpolation,
        }
        self.samplers.append(sampler)
        target = {"node": node, "path": path}
        self.channels.append({"sampler": len(self.samplers) - 1, "target": target})


def _with_weights_up_to_one(motion: RigMotion) -> RigMotion:
    """The same motion with weights in [0, 1], and without morphs that are never used.

    Blender limits a weight to [0, 1] and to what the first frame has. So the morph `NAME_plus` has
    the positive weights of `NAME`, and `NAME_minus`, which goes the other way, the negative ones;
    each is scaled by its largest weight in the film.
    """
    morphs, columns = {}, []
    for (name, offsets), weights in zip(motion.rig.mesh.morphs.items(), motion.weights.T):
        for ending, sign in (("plus", 1.0), ("minus", -1.0)):
            largest = float((sign * weights).max())
            if largest > _STILL:
                morphs[f"{name}_{ending}"] = (sign * largest * offsets).astype(np.float32)
                columns.append(np.maximum(sign * weights, 0.0) / largest)
    used = np.stack(columns, axis=1) if columns else np.zeros((len(motion.present), 0))
    mesh = dataclasses.replace(motion.rig.mesh, morphs=morphs)
    rig = RiggedMesh(mesh, motion.rig.skeleton, dict(zip(morphs, used[0].tolist())))
    return dataclasses.replace(motion, rig=rig, weights=used)


def _continuous(quaternions: Float[np.ndarray, "T 4"]) -> Float[np.ndarray, "T 4"]:
    """The same rotations with the signs that turn the shorter way from each frame to the next."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(axis=1)
    signs = np.cumprod(np.concatenate([[1.0], np.where(dots < 0, -1.0, 1.0)]))
    return quaternions * signs[:, None]


def _perspective(camera: FilmCamera) -> dict[str, Any]:
    angle = 2.0 * math.atan(0.5 * camera.height / camera.focal_length)
    return {
        "name": "film_camera",
        "type": "perspective",
        "perspective": {
            "yfov": angle,
            "aspectRatio": camera.width / camera.height,
            "znear": _NEAREST,
        },
    }
