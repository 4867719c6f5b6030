"""Detects a face and a hand near it, and chooses the square to crop around both.

The detectors are BlazeFace (Bazarevsky et al. 2019) and MediaPipe's palm detector (Zhang et al.
2020), run by OpenCV. The face is searched in the whole photo and, if it is too small there, in
overlapping tiles. The hand is searched in a square around the face.
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
_HAND_SEARCH = 3.5  # side of the square searched for the hand, in face widths
# Side of the crop over the longer side of head and hand together; 1.1 frames them as in the
# training scenes. Without a detected hand the crop leaves room for one.
_MARGIN, _MARGIN_WITHOUT_HAND = 1.1, 1.4

Detection = tuple[Float[np.ndarray, "4"], Float[np.ndarray, "K 2"]]


@dataclasses.dataclass(frozen=True)
class _Detector:
    """A single-shot detector, whose boxes are relative to MediaPipe's grid of anchors.

    Attributes:
        file: of the network.
        size: side of its input, pixels.
        black: input value of a black pixel; white is 1.
        outputs: names of the outputs, boxes and logits.
    """

    file: str
    size: int
    black: float
    outputs: tuple[str, str]


_FACE = _Detector("face.tflite", 128, -1.0, ("regressors", "classificators"))
_PALM = _Detector("palm.tflite", 192, 0.0, ("Identity", "Identity_1"))


@dataclasses.dataclass(frozen=True)
class Found:
    """The detections in a photo, in its pixels.

    Attributes:
        box: the square to crop: around face and hand, around the one that was detected, or at the
            center of the photo.
        face, hand: left, top, right, bottom of the whole head and hand; None if not detected.
    """

    box: CropBox
    face: Float[np.ndarray, "4"] | None
    hand: Float[np.ndarray, "4"] | None


def find(image: UInt8[np.ndarray, "H W 3"]) -> Found:
    """Detects a face and a hand.

    Args:
        image: RGB photo.

    Returns:
        The boxes of head and hand, and the square to crop.
    """
    height, width = image.shape[:2]
    face = _best(_FACE, image, [crop.full_box(height, width)])
    for fraction in (2, 4):
        face = face or _best(_FACE, image, _tiles(height, width, fraction))
    around = crop.full_box(height, width)
    if face is not None:
        center, side = (face[0][:2] + face[0][2:]) / 2, face[0][2] - face[0][0]
        left, top = center - _HAND_SEARCH * side / 2
        around = CropBox(float(left), float(top), float(_HAND_SEARCH * side))
    palm = _best(_PALM, image, [around])

    face_box = None if face is None else _whole_head(face[0])
    hand_box = None if palm is None else _whole_hand(*palm)
    boxes = [b for b in (face_box, hand_box) if b is not None]
    if not boxes:
        return Found(crop.center_box(height, width), None, None)
    box = crop.box_around(np.stack(boxes), _MARGIN_WITHOUT_HAND if hand_box is None else _MARGIN)
    return Found(crop.move_inside(box, height, width), face_box, hand_box)


def find_palm(image: UInt8[np.ndarray, "H W 3"], around: CropBox) -> Detection | None:
    """The most confident palm in a square of the photo.

    Returns:
        Its box (left, top, right, bottom) and 7 keypoints, in pixels of the photo. The first
        keypoint is the wrist, the third the middle knuckle. None if there is no palm.
    """
    return _best(_PALM, image, [around])


def find_face(image: UInt8[np.ndarray, "H W 3"], around: CropBox) -> Detection | None:
    """The most confident face in a square of the photo.

    Returns:
        Its box (left, top, right, bottom) and 6 keypoints, in pixels of the photo. The first two
        keypoints are the person's right and left eye. None if there is no face.
    """
    return _best(_FACE, image, [around])


def _best(
    detector: _Detector, image: UInt8[np.ndarray, "H W 3"], windows: list[CropBox]
) -> Detection | None:
    """The most confident detection in any of the windows, in pixels of the photo."""
    best, best_score = None, _MIN_SCORE
    for window in windows:
        pixels = crop.cut(image, window, detector.size).astype(np.float32) / 255.0
        pixels = pixels * (1.0 - detector.black) + detector.black
        network = _network(detector)
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        boxes, logits = (np.asarray(network.forward(name))[0] for name in detector.outputs)
        score = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -50.0, 50.0)))
        i = int(score.argmax())
        if score[i] <= best_score:
            continue
        best_score = score[i]
        anchor = anchors(detector.size)[i] * detector.size
        points = boxes[i].reshape(-1, 2) + anchor
        points[1] -= anchor  # the second pair is width and height
        corners = np.concatenate([points[0] - points[1] / 2, points[0] + points[1] / 2])
        zoom, origin = window.size / detector.size, np.array([window.left, window.top])
        box = corners.reshape(2, 2) * zoom + origin
        best = box.reshape(4), points[2:] * zoom + origin
    return best


def _whole_head(face: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """The box of the whole head; BlazeFace's box reaches only from the brows to the chin."""
    side = face[2] - face[0]
    return face + side * np.array([-0.3, -0.55, 0.3, 0.25])


def _whole_hand(
    palm: Float[np.ndarray, "4"], points: Float[np.ndarray, "7 2"]
) -> Float[np.ndarray, "4"]:
    """The box of the whole hand.

    As in MediaPipe, the palm's box moves by half its side from the wrist towards the middle knuckle
    and is enlarged.
    """
    side = palm[2] - palm[0]
    along = points[2] - points[0]
    length = max(float(np.linalg.norm(along)), 1e-6)
    center = (palm[:2] + palm[2:]) / 2 + 0.5 * side * along / length
    return np.concatenate([center - 1.1 * side, center + 1.1 * side])


def _tiles(height: int, width: int, fraction: int) -> list[CropBox]:
    """Squares that overlap by half, for faces that are too small in the whole photo.

    Args:
        height, width: of the photo, pixels.
        fraction: shorter side of the photo over the side of a square.
    """
    size = min(height, width) / fraction

    def starts(length: int) -> list[float]:
        count = max(2, int(np.ceil(2 * length / size)) - 1)
        return np.linspace(0.0, length - size, count).tolist()

    return [CropBox(x, y, size) for y in starts(height) for x in starts(width)]


@functools.cache
def _network(detector: _Detector) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromTFLite(str(_FOLDER / detector.file))


@functools.cache
def anchors(size: int) -> Float[np.ndarray, "N 2"]:
    """Centers of the anchors of a detector whose input has `size` pixels a side, in [0, 1].

    MediaPipe has two per cell on the stride-8 grid, then six per cell on the stride-16 grid.
    """
    grids = []
    for stride, count in ((8, 2), (16, 6)):
        axis = (np.arange(size // stride) + 0.5) * stride / size
        cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(cells, count, axis=0))
    return np.concatenate(grids)
