"""Finds the face and the hand on it, and the square to crop around them.

BlazeFace and BlazePalm (Bazarevsky et al. 2019, Zhang et al. 2020), run by OpenCV. The face is
looked for in the whole photo and, when too small for that, in overlapping tiles; the hand then in
the neighborhood of the face.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox

_FOLDER = Path(__file__).parent / "networks"
_MIN_SCORE = 0.5
_NEIGHBOURHOOD = 3.5  # side of the square searched for the hand, in face widths
# Side of the crop over the union of head and hand: 1.1 gives the framing of the training scenes.
# With the face alone there must be room for the hand that was missed.
_MARGIN, _MARGIN_FACE_ONLY = 1.1, 1.4


@dataclasses.dataclass(frozen=True)
class _Detector:
    """A single-shot detector: boxes relative to a fixed grid of anchors, as MediaPipe lays them
    out.
    """

    file: str
    size: int  # pixels a side
    low: float  # what black becomes; white becomes 1
    outputs: tuple[str, str]  # boxes, scores


_FACE = _Detector("face.tflite", 128, -1.0, ("regressors", "classificators"))
_PALM = _Detector("palm.tflite", 192, 0.0, ("Identity", "Identity_1"))


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found, in pixels of the photo.

    Attributes:
        box: the square to crop: around face and hand, around either alone, or the center of the
            photo.
        face, hand: left, top, right, bottom; None where nothing was found.
    """

    box: CropBox
    face: Float[np.ndarray, "4"] | None
    hand: Float[np.ndarray, "4"] | None


def find(image: UInt8[np.ndarray, "H W 3"]) -> Found:
    """Looks for a face and a hand.

    Args:
        image: RGB photo.

    Returns:
        The square to crop, and what it was built from.
    """
    height, width = image.shape[:2]
    face = _best(_FACE, image, [crop.full_box(height, width)])
    for fraction in (2, 4):
        face = face or _best(_FACE, image, _tiles(height, width, fraction))
    around = crop.full_box(height, width)
    if face is not None:
        center, side = (face[0][:2] + face[0][2:]) / 2, face[0][2] - face[0][0]
        around = CropBox(*(center - _NEIGHBOURHOOD * side / 2), _NEIGHBOURHOOD * side)
    palm = _best(_PALM, image, [around])

    face_box = None if face is None else _whole_head(face[0])
    hand_box = None if palm is None else _whole_hand(*palm)
    boxes = [b for b in (face_box, hand_box) if b is not None]
    if not boxes:
        return Found(crop.center_box(height, width), None, None)
    box = crop.box_around(np.stack(boxes), _MARGIN_FACE_ONLY if hand_box is None else _MARGIN)
    return Found(crop.inside(box, height, width), face_box, hand_box)


def find_palm(
    image: UInt8[np.ndarray, "H W 3"], around: CropBox
) -> tuple[np.ndarray, np.ndarray] | None:
    """The surest palm in a square of the photo: its box, and 7 key points, wrist first, middle
    knuckle third; pixels.
    """
    return _best(_PALM, image, [around])


def find_face(
    image: UInt8[np.ndarray, "H W 3"], around: CropBox
) -> tuple[np.ndarray, np.ndarray] | None:
    """The surest face in a square of the photo: its box, and 6 key points, the subject's right eye
    first; pixels.
    """
    return _best(_FACE, image, [around])


def _best(
    detector: _Detector, image: UInt8[np.ndarray, "H W 3"], windows: list[CropBox]
) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "K 2"]] | None:
    """The box and key points of the surest detection in any of the windows, in pixels of the photo."""
    best, best_score = None, _MIN_SCORE
    for window in windows:
        pixels = crop.cut(image, window, detector.size).astype(np.float32) / 255.0
        pixels = pixels * (1.0 - detector.low) + detector.low
        network = _network(detector)
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        boxes, logits = (network.forward(name)[0] for name in detector.outputs)
        score = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -50.0, 50.0)))
        i = int(score.argmax())
        if score[i] <= best_score:
            continue
        best_score = score[i]
        anchor = _anchors(detector.size)[i] * detector.size
        points = boxes[i].reshape(-1, 2) + anchor
        points[1] -= anchor  # the second pair is width and height
        corners = np.concatenate([points[0] - points[1] / 2, points[0] + points[1] / 2])
        to_photo = lambda xy, window=window: (
            xy * window.size / detector.size + [window.left, window.top]
        )
        best = to_photo(corners.reshape(2, 2)).reshape(4), to_photo(points[2:])
    return best


def _whole_head(face: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """From brows and chin, which BlazeFace boxes, to hair, ears and chin."""
    side = face[2] - face[0]
    return face + side * np.array([-0.3, -0.55, 0.3, 0.25])


def _whole_hand(
    palm: Float[np.ndarray, "4"], points: Float[np.ndarray, "7 2"]
) -> Float[np.ndarray, "4"]:
    """From the palm to the fingers: MediaPipe moves the box half a palm along wrist -> middle
    knuckle and enlarges it.
    """
    side = palm[2] - palm[0]
    along = points[2] - points[0]
    center = (palm[:2] + palm[2:]) / 2 + 0.5 * side * along / max(
        float(np.linalg.norm(along)), 1e-6
    )
    return np.concatenate([center - 1.1 * side, center + 1.1 * side])


def _tiles(height: int, width: int, fraction: int) -> list[CropBox]:
    """Half-overlapping squares, a fraction of the short side wide: for faces too small in the photo
    as a whole.
    """
    size = min(height, width) / fraction
    starts = lambda length: np.linspace(
        0.0, length - size, max(2, int(np.ceil(2 * length / size)) - 1)
    )
    return [CropBox(x, y, size) for y in starts(height) for x in starts(width)]


@functools.cache
def _network(detector: _Detector) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromTFLite(str(_FOLDER / detector.file))


@functools.cache
def _anchors(size: int) -> Float[np.ndarray, "N 2"]:
    """Centers of the anchors in [0, 1]: two a cell on the stride-8 grid, then six on the stride-16
    grid.
    """
    grids = []
    for stride, count in ((8, 2), (16, 6)):
        axis = (np.arange(size // stride) + 0.5) * stride / size
        cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(cells, count, axis=0))
    return np.concatenate(grids)
