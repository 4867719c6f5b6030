"""Everything the demo leaves behind for one photo, drawn first and written after."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from dice_jax.geometry.crop import CropBox
from dice_jax.io import atomic, images, mesh_files, meshes, params
from dice_jax.structs import Prediction
from dice_jax.visualization import overlay, palette


@dataclasses.dataclass(frozen=True)
class Results:
    """Pictures by name, the two meshes in their display colors, and the arrays of the parameter
    file.
    """

    pictures: dict[str, UInt8[np.ndarray, "H W 3"]]
    pair: list[meshes.NamedMesh]
    arrays: dict[str, np.ndarray]


def draw(
    prediction: Prediction,
    photo: UInt8[np.ndarray, "H W 3"],
    box: CropBox,
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    *,
    title: str,
    hand: str = "right",
    focal_length: float | None = None,
    full_frame: bool = False,
) -> Results:
    """Draws one photo's pictures and collects its numbers.

    Args:
        prediction: of one image, without leading dimensions.
        photo: RGB.
        box: where the crop lay in it.
        hand_faces, head_faces: of the body models.
        title: written above the sheet of views.
        hand: "left" when `prediction` is mirrored: its faces are then turned round.
        focal_length: of the photo, pixels; by default its diagonal.
        full_frame: whether to draw the meshes over the whole photo as well.
    """
    order = slice(None, None, -1) if hand == "left" else slice(None)
    paint = lambda faces, color: np.broadcast_to(color, (int(faces.max()) + 1, 3))
    pair = meshes.prediction_meshes(
        prediction,
        hand_faces[:, order],
        head_faces[:, order],
        paint(hand_faces, palette.HAND),
        paint(head_faces, palette.HEAD),
    )
    drawn = overlay.draw_over(float(prediction.camera.scale), prediction.camera.transl, pair)
    pictures = {
        "overlay": overlay.overlay_picture(photo, box, drawn),
        "side": overlay.view_sheet(pair, title),
    }
    if full_frame:
        pictures["photo"] = overlay.photo_picture(photo, box, drawn)
    arrays = params.to_arrays(
        prediction, box, photo.shape[:2], hand=hand, focal_length=focal_length
    )
    return Results(pictures, pair, arrays)


def write(
    results: Results, stem: Path, mesh_format: str = "glb", extras: dict | None = None
) -> list[Path]:
    """Writes `stem_overlay.png`, `stem_side.png`, the meshes with their contact painted on, and
    `stem_params.npz`.

    Args:
        results: from `draw`.
        stem: folder and name.
        mesh_format: one of `export.FORMATS`, or "none".
        extras: JSON values kept in a GLB.

    Returns:
        The files, each of them whole.
    """
    files = []
    for kind, picture in results.pictures.items():
        files.append(stem.with_name(f"{stem.name}_{kind}.png"))
        with atomic.atomic_path(files[-1]) as temporary:
            images.write_image(temporary, picture)
    if mesh_format != "none":
        painted = [
            dataclasses.replace(
                mesh, colors=palette.heat(mesh.attributes["contact"], mesh.colors, palette.CONTACT)
            )
            for mesh in results.pair
        ]
        files += mesh_files.write_meshes(stem, painted, mesh_format, extras)
    files.append(stem.with_name(f"{stem.name}_params.npz"))
    params.write_params(files[-1], results.arrays)
    return files
