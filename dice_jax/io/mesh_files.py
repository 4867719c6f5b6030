"""Meshes as files: GLB, PLY and OBJ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh

from dice_jax.io import atomic, gltf
from dice_jax.io.meshes import NamedMesh

FORMATS = ("glb", "ply", "obj")


def write_meshes(
    stem: str | Path, meshes: Sequence[NamedMesh], kind: str, extras: dict | None = None
) -> list[Path]:
    """Writes `stem.glb` with every mesh in it, or `stem_<name>.ply` / `.obj` for each.

    All are in meters with y up and z towards the camera; PLY and OBJ carry colors, GLB also the
    rest.

    Args:
        stem: path without suffix.
        meshes: what to write.
        kind: one of `FORMATS`.
        extras: JSON values kept in a GLB.

    Returns:
        The files.
    """
    if kind == "glb":
        path = Path(f"{stem}.glb")
        with atomic.atomic_path(path) as temporary:
            gltf.write_glb(temporary, meshes, extras)
        return [path]
    paths = []
    for mesh in meshes:
        paths.append(Path(f"{stem}_{mesh.name}.{kind}"))
        with atomic.atomic_path(paths[-1]) as temporary:
            _as_trimesh(mesh).export(temporary)
    return paths


def _as_trimesh(mesh: NamedMesh) -> trimesh.Trimesh:
    colors = np.rint(
        np.concatenate([mesh.colors, np.ones((len(mesh.colors), 1))], axis=1) * 255
    ).astype(np.uint8)
    return trimesh.Trimesh(
        mesh.vertices * [1, -1, -1], mesh.faces, vertex_colors=colors, process=False
    )
