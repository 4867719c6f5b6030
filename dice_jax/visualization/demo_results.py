"""The result files of the demo for one person: `draw` makes them, `write` saves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from dice_jax.geometry.crop import CropBox
from dice_jax.io import (
    atomic,
    contact_table,
    gltf_skin,
    images,
    mesh_files,
    params,
    scene_page,
)
from dice_jax.io.gltf_skin import RiggedMesh
from dice_jax.io.meshes import NamedMesh, person_meshes
from dice_jax.person import Person
from dice_jax.visualization import overlay, palette

PICTURES = ("overlay", "all", "none")
MESHES = (*mesh_files.FORMATS, "rig", "none")


@dataclasses.dataclass(frozen=True)
class Results:
    """What `write` saves.

    Attributes:
        drawings: RGB images, by the end of their file name.
        meshes: hands and head in their display colors.
        arrays: content of the parameter files.
        rigs: hands and head with their skeletons, for the mesh format "rig".
        contacts: rows of the table of contacts.
    """

    drawings: dict[str, UInt8[np.ndarray, "_ _ 3"]]
    meshes: list[NamedMesh]
    arrays: dict[str, Shaped[np.ndarray, "..."]]
    rigs: Sequence[RiggedMesh] = ()
    contacts: Sequence[Sequence[Any]] = ()


def draw(
    person: Person,
    photo: UInt8[np.ndarray, "H W 3"],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    *,
    title: str,
    pictures: str = "all",
    full_frame: bool = False,
) -> Results:
    """Draws the results of one person and collects the arrays.

    Args:
        person: found in the photo.
        photo: RGB.
        hand_faces, head_faces: of the body models.
        title: written above the sheet of views.
        pictures: one of `PICTURES`: the crop with the meshes over it, the sheet of views as well,
            or no picture.
        full_frame: whether to draw the meshes over the whole photo as well.
    """
    meshes = person_meshes(person, hand_faces, head_faces, palette.HAND, palette.HEAD)
    box = CropBox(*person.crop_box)
    drawings = {}
    if pictures != "none" or full_frame:
        drawn = overlay.render_over_crop(person, meshes)
        if pictures != "none":
            drawings["overlay"] = overlay.crop_and_overlay(photo, box, drawn)
        if full_frame:
            drawings["photo"] = overlay.photo_overlay(photo, box, drawn)
    if pictures == "all":
        drawings["side"] = overlay.view_sheet(meshes, title)
    return Results(drawings, meshes, params.to_arrays(person, photo.shape[:2]))


def write_report(path: Path, results: Results, title: str, summary: str) -> None:
    """Writes one HTML file with the meshes, which one can turn, the pictures and the contacts.

    Args:
        path: the file.
        results: from `draw`.
        title, summary: text at the top.
    """
    colorings = {
        "contact": [
            palette.heat(mesh.attributes["contact"], mesh.colors, palette.CONTACT)
            for mesh in results.meshes
        ],
        "deformation": [_by_deformation(mesh) for mesh in results.meshes],
        "plain": [mesh.colors for mesh in results.meshes],
    }
    lines = [
        f"{hand} {hand_region} on {head_region}: {probability:.0%}"
        for hand, hand_region, head_region, probability, _ in results.contacts
    ]
    pictures = {f"{title}: {name}": drawing for name, drawing in results.drawings.items()}
    scene_page.write_page(path, title, summary, results.meshes, colorings, lines, pictures)


def _by_deformation(mesh: NamedMesh) -> np.ndarray:
    """From nothing to the deepest place; a hand has its own color."""
    if "deformation" not in mesh.attributes:
        return mesh.colors
    depth = np.nan_to_num(mesh.attributes["deformation"])
    return palette.heat(depth / max(float(depth.max()), 1e-3), mesh.colors, palette.DEFORMATION)


def write(
    results: Results,
    stem: Path,
    mesh_format: str = "glb",
    extras: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes the pictures, such as `stem_overlay.png`, the meshes, parameters and contacts.

    Args:
        results: from `draw`.
        stem: folder and start of the file names.
        mesh_format: one of `MESHES`. Meshes are colored by contact. "rig" is a GLB, and one with
            skeletons, `stem_rig.glb`.
        extras: JSON values to store in a GLB and beside the parameters.

    Returns:
        The paths of the files. They appear together, or none of them does.

    Raises:
        OSError: a file cannot be written; it names the file and the reason.
    """
    with atomic.together():
        return _write(results, stem, mesh_format, extras)


def _write(
    results: Results, stem: Path, mesh_format: str, extras: Mapping[str, Any] | None
) -> list[Path]:
    named = lambda ending: stem.with_name(f"{stem.name}_{ending}")
    files = []
    for name, drawing in results.drawings.items():
        files.append(named(f"{name}.png"))
        images.write_image(files[-1], drawing)
    if mesh_format != "none":
        colored = [
            dataclasses.replace(
                mesh, colors=palette.heat(mesh.attributes["contact"], mesh.colors, palette.CONTACT)
            )
            for mesh in results.meshes
        ]
        kind = "glb" if mesh_format == "rig" else mesh_format
        files += mesh_files.write_meshes(stem, colored, kind, extras)
    if mesh_format == "rig" and results.rigs:
        files.append(named("rig.glb"))
        gltf_skin.write_rig(files[-1], results.rigs, extras)
    files += [named("params.npz"), named("params.json"), named("contact.csv")]
    params.write_params(files[-3], results.arrays)
    params.write_document(files[-2], params.to_document(results.arrays, extras))
    contact_table.write_table(files[-1], contact_table.COLUMNS, results.contacts)
    return files
