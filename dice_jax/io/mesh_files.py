"""Meshes as files: GLB, PLY and OBJ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from dice_jax.io import atomic, gltf
from dice_jax.io.meshes import NamedMesh

FORMATS = ("glb", "ply", "obj")


def write_meshes(
    stem: str | Path,
    meshes: Sequence[NamedMesh],
    kind: str,
    extras: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes `stem.glb` with all meshes, or `stem_<name>.ply` / `.obj` for each mesh.

    Files are in meters with y up and z towards the camera. PLY and OBJ store colors; GLB also
    stores attributes and morphs.

    Args:
        stem: path without suffix.
        meshes: camera axes, meters.
        kind: one of `FORMATS`.
        extras: JSON values to store in a GLB.

    Returns:
        The paths of the files.
    """
    if kind == "glb":
        path = Path(f"{stem}.glb")
        gltf.write_glb(path, meshes, extras)
        return [path]
    paths = []
    for mesh in meshes:
        paths.append(Path(f"{stem}_{mesh.name}.{kind}"))
        with atomic.atomic_path(paths[-1]) as temporary:
            _as_trimesh(mesh).export(temporary)
    return paths


def _as_trimesh(mesh: NamedMesh) -> trimesh.Trimesh:
    rgba = np.concatenate([mesh.colors, np.ones((len(mesh.colors), 1))], axis=1)
    colors = np.rint(rgba * 255).astype(np.uint8)
    vertices = mesh.vertices * gltf.CAMERA_TO_GLTF
    return trimesh.Trimesh(vertices, mesh.faces, vertex_colors=colors, process=False)
