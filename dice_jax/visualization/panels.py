"""Views of one prediction, shared by validation sheets and evaluation reports."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import MIN_SCALE, closest_orthography
from dice_jax.io.meshes import NamedMesh, prediction_meshes
from dice_jax.structs import Camera, Prediction
from dice_jax.visualization import overlay, palette
from dice_jax.visualization.captions import ColorBar
from dice_jax.visualization.render import render

_RIGHT_SIDE = np.radians(-65)
_FORWARD = np.array([0.0, 0.0, 1.0])


def hand_and_head(
    prediction: Prediction, hand_faces: Int[np.ndarray, "F 3"], head_faces: Int[np.ndarray, "G 3"]
) -> list[NamedMesh]:
    """Both meshes of one image in the palette's colors, see `meshes.prediction_meshes`."""
    hand_colors = np.broadcast_to(palette.HAND, np.shape(prediction.hand_vertices))
    head_colors = np.broadcast_to(palette.HEAD, np.shape(prediction.head_vertices))
    return prediction_meshes(prediction, hand_faces, head_faces, hand_colors, head_colors)


def contact_directions(
    meshes: Sequence[NamedMesh],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """The viewing directions that show the contact on the face and on the hand best."""
    hand, head = meshes
    at_face = overlay.facing(head, head.attributes["contact"], _FORWARD)
    return at_face, overlay.facing(hand, hand.attributes["contact"], -at_face)


def over_crop(
    image: UInt8[np.ndarray, "224 224 3"],
    camera: Camera,
    meshes: Sequence[NamedMesh],
    size: int = CROP_SIZE,
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The network's input, enlarged to `size` pixels, with the meshes over it."""
    zoom = size / image.shape[0]
    # An untrained network may predict a negative scale, which would mirror the meshes.
    scale = max(float(camera.scale), MIN_SCALE) * zoom
    drawn = render(meshes, scale, np.asarray(camera.transl) * zoom, size)
    return overlay.blend(enlarged(image, size), drawn)


def side_and_contacts(
    meshes: Sequence[NamedMesh],
    name: str,
    directions: tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]],
    size: int = CROP_SIZE,
) -> list[UInt8[np.ndarray, "{size} {size} 3"]]:
    """Three views: from the person's right, the contact on the face, the contact on the hand.

    Args:
        meshes: hand and head.
        name: of the prediction, for the caption.
        directions: from `contact_directions`.
        size: side of a view, pixels.
    """
    by_contact = [
        overlay.colored(mesh, mesh.attributes["contact"], palette.CONTACT) for mesh in meshes
    ]
    views = [overlay.view(meshes, overlay.seen_from(_RIGHT_SIDE, 0.0), f"{name}, side", size=size)]
    bar = ColorBar(palette.CONTACT, "0", "1", "")
    hand, head = by_contact
    for part, mesh, direction in zip(("face", "hand"), (head, hand), directions):
        views.append(overlay.view([mesh], direction, f"contact on the {part}", bar, size))
    return views


def enlarged(
    image: UInt8[np.ndarray, "224 224 3"], size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The image resampled to `size` pixels a side."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)


def fit_camera(points: Float[np.ndarray, "K 3"], detected: Float[np.ndarray, "K 3"]) -> Camera:
    """The scaled orthography that projects `points` closest to their detections.

    Minimizes the squared distance weighted by confidence.

    Args:
        points: meters, camera axes.
        detected: pixels and confidence.

    Returns:
        See `closest_orthography`.
    """
    return Camera(*closest_orthography(points, detected[:, :2], detected[:, 2]))
