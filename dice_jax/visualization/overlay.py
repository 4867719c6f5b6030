"""Drawings of a prediction: meshes over the crop or the photo, and a sheet of other views."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.io.meshes import NamedMesh, person_meshes
from dice_jax.person import Person
from dice_jax.visualization import captions, palette
from dice_jax.visualization.captions import ColorBar
from dice_jax.visualization.render import render
from dice_jax.visualization.shading import look_at

PANEL = 672  # pixels: side of the drawn crop
_SHEET_PANEL = 448  # pixels: side of a view on the sheet
_OPACITY = 0.93  # of the meshes; a little of the photo shows through, to judge the alignment
_MAX_WINDOW = 1024  # pixels: side of what is rendered of a frame; larger ones are enlarged
_MAX_PHOTO = 2048  # pixels: longer side of the drawing over the whole photo
_FORWARD = np.array([0.0, 0.0, 1.0])  # viewing direction of the camera
_STEEPEST = np.sin(np.radians(75.0))  # limit of a viewing direction's vertical part


def render_over_crop(person: Person, meshes: Sequence[NamedMesh]) -> Float[np.ndarray, "672 672 4"]:
    """Renders the meshes where `Person.project` sees them in the crop, enlarged.

    Args:
        person: gives the cameras.
        meshes: of the person.

    Returns:
        sRGB in [0, 1] and alpha, for `crop_and_overlay` and `photo_overlay`.
    """
    scale, transl = float(person.crop_camera.scale), np.asarray(person.crop_camera.transl)
    box = CropBox(*person.crop_box)

    def as_seen(mesh: NamedMesh) -> NamedMesh:
        # The renderer is orthographic: move each vertex in the image to where the pinhole sees it.
        pixels = box.to_crop(np.asarray(person.project(mesh.vertices)))
        vertices = np.column_stack([(pixels - transl) / scale, mesh.vertices[:, 2]])
        return dataclasses.replace(mesh, vertices=vertices.astype(np.float32))

    zoom = PANEL / CROP_SIZE
    return render([as_seen(mesh) for mesh in meshes], scale * zoom, transl * zoom, PANEL)


def crop_and_overlay(
    photo: UInt8[np.ndarray, "H W 3"], box: CropBox, drawn: Float[np.ndarray, "672 672 4"]
) -> UInt8[np.ndarray, "672 1344 3"]:
    """The crop, and to its right the crop with the meshes over it."""
    background = crop.cut(photo, box, PANEL)
    return np.concatenate([background, blend(background, drawn)], axis=1)


def photo_overlay(
    photo: UInt8[np.ndarray, "H W 3"], box: CropBox, drawn: Float[np.ndarray, "672 672 4"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The whole photo with the meshes over it, at most 2048 pixels on its longer side."""
    shrink = min(1.0, _MAX_PHOTO / max(photo.shape[:2]))
    height, width = (max(1, round(n * shrink)) for n in photo.shape[:2])
    background = photo
    if shrink < 1.0:
        background = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    zoom = box.size * shrink / PANEL
    # cv2 counts pixel centers from 0.
    left, top = np.array([box.left, box.top]) * shrink + 0.5 * zoom - 0.5
    matrix = np.array([[zoom, 0.0, left], [0.0, zoom, top]])
    alpha = drawn[..., 3:]
    premultiplied = np.concatenate([drawn[..., :3] * alpha, alpha], axis=-1).astype(np.float32)
    size = (width, height)
    placed = cv2.warpAffine(premultiplied, matrix, size, flags=cv2.INTER_AREA, borderValue=0)
    placed[..., :3] /= np.maximum(placed[..., 3:], 1e-6)
    return blend(background, placed)


def over_frame(
    photo: UInt8[np.ndarray, "H W 3"], person: Person, meshes: Sequence[NamedMesh]
) -> UInt8[np.ndarray, "H W 3"]:
    """The photo with the meshes over it, where `Person.project` sees them, in its own resolution.

    Args:
        photo: RGB.
        person: gives the camera.
        meshes: of the person.
    """
    height, width = photo.shape[:2]
    seen = [np.asarray(person.project(mesh.vertices), np.float64) for mesh in meshes]
    points = np.concatenate(seen)
    points = np.clip(points[np.isfinite(points).all(axis=1)], 0, [width, height])
    if not len(points):
        return photo
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    side = int((high - low).max())
    if (high <= low).any():
        return photo
    zoom = min(1.0, _MAX_WINDOW / side)
    # Pixels per meter; it only sets the size of shadows, since all pixels are given.
    scale = person.photo_camera.focal_length / max(float(person.photo_camera.transl[2]), 1e-2)
    placed = [
        dataclasses.replace(
            mesh,
            vertices=np.column_stack([(pixels - low) / scale, mesh.vertices[:, 2]]).astype(
                np.float32
            ),
        )
        for mesh, pixels in zip(meshes, seen)
    ]
    drawn = render(placed, scale * zoom, np.zeros(2), max(1, round(side * zoom)))
    if zoom < 1.0:
        drawn = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_LINEAR)
    bottom, right = min(low[1] + side, height), min(low[0] + side, width)
    result = photo.copy()
    window = result[low[1] : bottom, low[0] : right]
    window[:] = blend(window, np.ascontiguousarray(drawn[: len(window), : window.shape[1]]))
    return result


def people_over_frame(
    photo: UInt8[np.ndarray, "H W 3"],
    people: Sequence[Person],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """The photo with everybody's meshes over it, colored by contact; the nearest people in front.

    Args:
        photo: RGB.
        people: in it.
        hand_faces, head_faces: of the body models.
    """
    for person in sorted(people, key=lambda person: -float(person.photo_camera.transl[2])):
        meshes = person_meshes(person, hand_faces, head_faces, palette.HAND, palette.HEAD)
        by_contact = [
            dataclasses.replace(
                mesh, colors=palette.heat(mesh.attributes["contact"], mesh.colors, palette.CONTACT)
            )
            for mesh in meshes
        ]
        photo = over_frame(photo, person, by_contact)
    return photo


def view_sheet(meshes: Sequence[NamedMesh], title: str) -> UInt8[np.ndarray, "H W 3"]:
    """Three views of everything; where hand and head are there, three more of what they do.

    These show the contact on the face, the contact on the hand that touches most, and the
    deformation. They look at the touched skin head on and leave out the other meshes.

    Args:
        meshes: hands first, then the head, from `meshes.person_meshes`.
        title: written above.
    """
    turn = lambda yaw, pitch: seen_from(np.radians(yaw), np.radians(pitch))
    views: list[tuple] = [
        (meshes, turn(-65, 0), "from the person's right"),
        (meshes, turn(65, 0), "from the person's left"),
        (meshes, turn(0, -50), "from above"),
    ]
    hands = [mesh for mesh in meshes if mesh.name != "head"]
    if hands and len(hands) < len(meshes):
        views += _contact_views(hands, meshes[-1])
    with ThreadPoolExecutor() as pool:
        panels = list(pool.map(lambda arguments: view(*arguments), views))
    return captions.sheet(panels, columns=3, title=title)


def _contact_views(hands: Sequence[NamedMesh], head: NamedMesh) -> list[tuple]:
    """Arguments of `view`: contact on the face and on a hand, and the deformation."""
    hand = max(hands, key=lambda mesh: float(np.nan_to_num(mesh.attributes["contact"]).sum()))
    hand_contact, head_contact = hand.attributes["contact"], head.attributes["contact"]
    deformation = head.attributes["deformation"]
    deepest = float(np.nan_to_num(deformation).max()) * 1e3
    full_scale = captions.round_up(max(deepest, 1.0))
    probability = ColorBar(palette.CONTACT, "0", "1", "probability")
    millimeters = ColorBar(palette.DEFORMATION, "0", f"{full_scale:g}", "mm")
    at_face = facing(head, head_contact, _FORWARD)
    at_hand = facing(hand, hand_contact, -at_face)
    at_deformation = facing(head, deformation, at_face)
    on_head = colored(head, head_contact, palette.CONTACT)
    on_hand = colored(hand, hand_contact, palette.CONTACT)
    deformed = colored(head, deformation * 1e3 / full_scale, palette.DEFORMATION)
    caption = f"deformation, at most {deepest:.1f} mm"
    return [
        ([on_head], at_face, "contact on the face", probability),
        ([on_hand], at_hand, f"contact on the {_in_words(hand)}", probability),
        ([deformed], at_deformation, caption, millimeters),
    ]


def _in_words(mesh: NamedMesh) -> str:
    return mesh.name.replace("_", " ")


def view(
    meshes: Sequence[NamedMesh],
    direction: Float[np.ndarray, "3"],
    caption: str,
    bar: ColorBar | None = None,
    size: int = _SHEET_PANEL,
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """A panel that the meshes fill, with a caption and perhaps a color bar.

    Args:
        meshes: hand and head.
        direction: viewing direction.
        caption: a few words.
        bar: the legend of the colors; with one there are no shadows, which would change the colors.
        size: side of the panel, pixels.
    """
    rotation = look_at(direction).astype(np.float32)
    turned = [dataclasses.replace(mesh, vertices=mesh.vertices @ rotation.T) for mesh in meshes]
    points = np.concatenate([mesh.vertices for mesh in turned])[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([0.90, 0.78]) * size  # the captions take the rest of the height
    scale = float((room / np.maximum(high - low, 1e-3)).min())
    transl = np.array([0.5, 0.52]) * size - scale * (low + high) / 2
    drawn = render(turned, scale, transl, size, shadow=bar is None)
    paper = np.broadcast_to(palette.PAPER * 255, (size, size, 3))
    return captions.annotate(blend(paper, drawn, 1.0), caption, bar)


def facing(
    mesh: NamedMesh, weights: Float[np.ndarray, "V"], otherwise: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """The direction that views the weighted part of a surface head on.

    Args:
        mesh: the surface.
        weights: of its vertices; NaN counts as 0.
        otherwise: the direction to return where all weights are zero.

    Returns:
        A unit vector, at most 75 degrees up or down.
    """
    triangles = mesh.vertices[mesh.faces]
    area_vectors = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    # Squared, so that small weights over the whole surface do not dominate the weighted part.
    face_weights = np.nan_to_num(weights)[mesh.faces].mean(axis=1, keepdims=True) ** 2
    outward = (face_weights * area_vectors).sum(axis=0)
    length = np.linalg.norm(outward)
    if length < 1e-9:
        return otherwise
    direction = -outward / length
    direction[1] = np.clip(direction[1], -_STEEPEST, _STEEPEST)
    return direction / np.linalg.norm(direction)


def seen_from(yaw: float, pitch: float) -> Float[np.ndarray, "3"]:
    """The viewing direction of a camera that circles the scene.

    Args:
        yaw: how far the camera moves to its right, radians.
        pitch: how far it moves down, radians.
    """
    return np.array([-np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def colored(
    mesh: NamedMesh, values: Float[np.ndarray, "V"], stops: Float[np.ndarray, "K 3"]
) -> NamedMesh:
    """The mesh colored by `values` in [0, 1], see `palette.heat`."""
    return dataclasses.replace(mesh, colors=palette.heat(values, palette.NEUTRAL, stops))


def blend(
    background: UInt8[np.ndarray, "H W 3"] | Float[np.ndarray, "H W 3"],
    drawn: Float[np.ndarray, "H W 4"],
    opacity: float = _OPACITY,
) -> UInt8[np.ndarray, "H W 3"]:
    """Puts a rendering over an image.

    Args:
        background: RGB in [0, 255].
        drawn: sRGB in [0, 1] and alpha.
        opacity: multiplies alpha.
    """
    colors = cv2.convertScaleAbs(np.ascontiguousarray(drawn[..., :3]), alpha=255.0)
    weight = drawn[..., 3] * np.float32(opacity)
    behind = background if background.dtype == np.uint8 else np.rint(background).astype(np.uint8)
    return cv2.blendLinear(colors, np.ascontiguousarray(behind), weight, 1.0 - weight)
