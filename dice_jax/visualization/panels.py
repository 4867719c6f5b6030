"""The views of one prediction that the sheets of a training and the pages of a report share."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.geometry.crop import CROP_SIZE
from dice_jax.io.meshes import NamedMesh, prediction_meshes
from dice_jax.structs import Camera, Prediction
from dice_jax.visualization import overlay, palette
from dice_jax.visualization.render import render

_MIN_SCALE = 10.0  # pixels a meter
_RIGHT_SIDE = np.radians(-65)
_AHEAD = np.array([0.0, 0.0, 1.0])


def hand_and_head(
    prediction: Prediction, hand_faces: Int[np.ndarray, "F 3"], head_faces: Int[np.ndarray, "G 3"]
) -> list[NamedMesh]:
    """Both meshes in the colors of the palette, contact among their attributes."""
    paint = lambda vertices, color: np.broadcast_to(color, np.shape(vertices))
    hand, head = prediction.hand_vertices, prediction.head_vertices
    return prediction_meshes(
        prediction, hand_faces, head_faces, paint(hand, palette.HAND), paint(head, palette.HEAD)
    )


def contact_directions(
    meshes: list[NamedMesh],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Viewing directions that show best where the face, and where the hand is touched."""
    hand, head = meshes
    face = overlay.facing(head, np.asarray(head.attributes["contact"]), _AHEAD)
    return face, overlay.facing(hand, np.asarray(hand.attributes["contact"]), -face)


def over_photo(
    image: UInt8[np.ndarray, "224 224 3"],
    camera: Camera,
    meshes: list[NamedMesh],
    size: int = CROP_SIZE,
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The meshes over the crop that the network saw, enlarged."""
    zoom = size / image.shape[0]
    # A network that knows nothing yet may turn the picture inside out.
    scale = max(float(camera.scale), _MIN_SCALE) * zoom
    return overlay.blend(
        enlarged(image, size), render(meshes, scale, np.asarray(camera.transl) * zoom, size)
    )


def side_and_contacts(
    meshes: list[NamedMesh],
    name: str,
    directions: tuple[np.ndarray, np.ndarray],
    size: int = CROP_SIZE,
) -> list[UInt8[np.ndarray, "{size} {size} 3"]]:
    """Three views: from the right, the contact on the face, and that on the hand."""
    hand, head = contact = [
        overlay.painted(mesh, mesh.attributes["contact"], palette.CONTACT) for mesh in meshes
    ]
    bar = (palette.CONTACT, "0", "1", "")
    return [
        overlay.view(meshes, overlay.seen_from(_RIGHT_SIDE, 0.0), f"{name}, side", size=size),
        overlay.view(
            contact, directions[0], "contact on the face", hidden=(hand.name,), bar=bar, size=size
        ),
        overlay.view(
            contact, directions[1], "contact on the hand", hidden=(head.name,), bar=bar, size=size
        ),
    ]


def enlarged(
    image: UInt8[np.ndarray, "224 224 3"], size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)


def fit_camera(points: Float[np.ndarray, "K 3"], detected: Float[np.ndarray, "K 3"]) -> Camera:
    """The scaled orthography under which `points` come nearest to where they were detected,
    weighted by confidence.

    Args:
        points: meters, camera axes.
        detected: pixels and confidence.

    Returns:
        The camera; one that shows the middle of the crop where fewer than two points were detected.
    """
    weights = np.asarray(detected[:, 2:], np.float64)
    if np.count_nonzero(weights) < 2:
        return Camera(scale=np.float32(550.0), transl=np.full(2, CROP_SIZE / 2, np.float32))
    points, pixels = (
        np.asarray(points, np.float64)[:, :2],
        np.where(weights > 0, detected[:, :2], 0.0),
    )
    mean = lambda x: (weights * x).sum(0) / weights.sum()
    source, target = points - mean(points), pixels - mean(pixels)
    scale = (weights * source * target).sum() / max((weights * source**2).sum(), 1e-12)
    scale = max(
        scale, _MIN_SCALE
    )  # what was detected may be far from the truth; a mirror image cannot be drawn
    return Camera(
        scale=np.float32(scale), transl=(mean(pixels) - scale * mean(points)).astype(np.float32)
    )
