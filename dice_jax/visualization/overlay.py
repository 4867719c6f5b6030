"""The pictures of a prediction: over the crop, over the whole photo, and a sheet of views with
contact and dent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.io.meshes import NamedMesh
from dice_jax.visualization import captions, palette
from dice_jax.visualization.render import look_at, render

PANEL = 672  # pixels: side of a crop
_SHEET_PANEL = 448  # pixels: side of a view on the sheet
_OPACITY = 0.93  # of the meshes over the photo: enough of it shines through to judge the alignment
_MAX_PHOTO = 2048  # pixels: longest side of the picture of the whole photo
_AHEAD = np.array([0.0, 0.0, 1.0])  # where the camera looks


def draw_over(
    scale: float, transl: Float[np.ndarray, "2"], meshes: Sequence[NamedMesh]
) -> Float[np.ndarray, "672 672 4"]:
    """Draws the meshes as the camera of the 224 crop sees them: RGBA for `overlay_picture` and
    `photo_picture`.
    """
    zoom = PANEL / crop.CROP_SIZE
    return render(meshes, scale * zoom, np.asarray(transl) * zoom, PANEL)


def overlay_picture(
    photo: UInt8[np.ndarray, "H W 3"], box: CropBox, drawn: Float[np.ndarray, "672 672 4"]
) -> UInt8[np.ndarray, "672 1344 3"]:
    """The crop, and beside it the crop with the meshes over it."""
    background = crop.cut(photo, box, PANEL)
    return np.concatenate([background, blend(background, drawn)], axis=1)


def photo_picture(
    photo: UInt8[np.ndarray, "H W 3"], box: CropBox, drawn: Float[np.ndarray, "672 672 4"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The whole photo with the meshes over it, at most 2048 pixels on its longer side."""
    shrink = min(1.0, _MAX_PHOTO / max(photo.shape[:2]))
    height, width = (max(1, round(n * shrink)) for n in photo.shape[:2])
    background = (
        cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA) if shrink < 1.0 else photo
    )
    zoom = box.size * shrink / PANEL
    offset = (
        np.array([box.left, box.top]) * shrink + 0.5 * zoom - 0.5
    )  # cv2 counts pixel centers from 0
    matrix = np.array([[zoom, 0.0, offset[0]], [0.0, zoom, offset[1]]])
    premultiplied = np.concatenate(
        [drawn[..., :3] * drawn[..., 3:], drawn[..., 3:]], axis=-1
    ).astype(np.float32)
    placed = cv2.warpAffine(
        premultiplied, matrix, (width, height), flags=cv2.INTER_AREA, borderValue=0
    )
    placed[..., :3] /= np.maximum(placed[..., 3:], 1e-6)
    return blend(background, placed)


def view_sheet(meshes: Sequence[NamedMesh], title: str) -> UInt8[np.ndarray, "H W 3"]:
    """Six views: three of both meshes from other sides, then the contact on face and hand, and the
    dent.

    Contact views look at the touching skin head on, with the other mesh left out.

    Args:
        meshes: hand and head with the attributes `contact` (and for the head `deformation`), as
            from `meshes.prediction_meshes`.
        title: written above.
    """
    hand, head = meshes
    turn = lambda yaw, pitch: seen_from(np.radians(yaw), np.radians(pitch))
    dent = float(np.nan_to_num(head.attributes["deformation"]).max()) * 1e3
    full_scale = captions.round_up(max(dent, 1.0))
    contact = [painted(mesh, mesh.attributes["contact"], palette.CONTACT) for mesh in meshes]
    dented = [hand, painted(head, head.attributes["deformation"] * 1e3 / full_scale, palette.DENT)]
    touched = facing(head, head.attributes["contact"], _AHEAD)
    most_dented = facing(head, head.attributes["deformation"], touched)

    panels = [
        view(meshes, turn(-65, 0), "from the person's right"),
        view(meshes, turn(65, 0), "from the person's left"),
        view(meshes, turn(0, -50), "from above"),
        view(
            contact,
            touched,
            "contact on the face",
            hidden=("hand",),
            bar=(palette.CONTACT, "0", "1", "probability"),
        ),
        view(
            contact,
            facing(hand, hand.attributes["contact"], -touched),
            "contact on the hand",
            hidden=("head",),
            bar=(palette.CONTACT, "0", "1", "probability"),
        ),
        view(
            dented,
            most_dented,
            f"dent in the skin, at most {dent:.1f} mm",
            hidden=("hand",),
            bar=(palette.DENT, "0", f"{full_scale:g}", "mm"),
        ),
    ]
    return captions.sheet(panels, columns=3, title=title)


def view(
    meshes: Sequence[NamedMesh],
    direction: Float[np.ndarray, "3"],
    caption: str,
    hidden: Sequence[str] = (),
    bar: tuple | None = None,
    size: int = _SHEET_PANEL,
) -> UInt8[np.ndarray, "S S 3"]:
    """One panel: the meshes seen along `direction`, filling the panel, a caption and perhaps a
    color bar.

    Args:
        meshes: hand and head.
        direction: in which the camera looks.
        caption: a few words.
        hidden: names of meshes to leave out.
        bar: see `figure.annotate`; with one, nothing throws shadows.
        size: side of the panel, pixels.
    """
    rotation = look_at(direction).astype(np.float32)
    turned = [dataclasses.replace(mesh, vertices=mesh.vertices @ rotation.T) for mesh in meshes]
    points = np.concatenate([mesh.vertices for mesh in turned if mesh.name not in hidden])[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([0.90, 0.78]) * size  # captions take the rest of the height
    scale = float((room / np.maximum(high - low, 1e-3)).min())
    center = np.array([0.5, 0.52]) * size
    drawn = render(
        turned, scale, center - scale * (low + high) / 2, size, hidden, shadow=bar is None
    )
    paper = np.broadcast_to(palette.PAPER * 255, (size, size, 3))
    return captions.annotate(blend(paper, drawn, 1.0), caption, bar)


def facing(
    mesh: NamedMesh, weights: Float[np.ndarray, "V"], otherwise: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """The viewing direction that sees the surface where `weights` lie head on, at most 75 degrees
    up or down.
    """
    triangles = mesh.vertices[mesh.faces]
    area_vectors = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    # Squared: a faint background over the whole surface must not outvote the spot.
    outward = (
        np.nan_to_num(weights)[mesh.faces].mean(axis=1, keepdims=True) ** 2 * area_vectors
    ).sum(axis=0)
    length = np.linalg.norm(outward)
    if length < 1e-9:
        return otherwise
    direction = -outward / length
    steepest = np.sin(np.radians(75.0))
    direction[1] = np.clip(direction[1], -steepest, steepest)
    return direction / np.linalg.norm(direction)


def seen_from(yaw: float, pitch: float) -> Float[np.ndarray, "3"]:
    """Viewing direction from a camera moved `yaw` to its right around the scene and `pitch`
    downwards, radians.
    """
    return np.array([-np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def painted(
    mesh: NamedMesh, values: Float[np.ndarray, "V"], stops: Float[np.ndarray, "K 3"]
) -> NamedMesh:
    """The mesh in the colors of `values` in [0, 1], see `palette.heat`."""
    return dataclasses.replace(mesh, colors=palette.heat(values, palette.NEUTRAL, stops))


def blend(
    background: np.ndarray, drawn: np.ndarray, opacity: float = _OPACITY
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture with an RGBA one over it."""
    alpha = drawn[..., 3:] * opacity
    return np.rint((drawn[..., :3] * alpha + background / 255.0 * (1.0 - alpha)) * 255.0).astype(
        np.uint8
    )
