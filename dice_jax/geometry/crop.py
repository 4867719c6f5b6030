"""The square around hand and face: choosing it, cutting it out, and going back to the photo."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

CROP_SIZE = 224  # what the network sees
_OUTSIDE = 124  # gray beyond the photo: ImageNet's mean, about 0 once normalized


@dataclasses.dataclass(frozen=True)
class CropBox:
    """A square of a photo, in its pixels; it may reach beyond the photo."""

    left: float
    top: float
    size: float

    @property
    def scale(self) -> float:
        """Photo pixels per crop pixel."""
        return self.size / CROP_SIZE

    def to_photo(self, points: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
        """Points of the 224 crop in pixels of the photo."""
        return np.asarray(points) * self.scale + np.array([self.left, self.top])

    def to_crop(self, points: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
        """Points of the photo in pixels of the 224 crop."""
        return (np.asarray(points) - np.array([self.left, self.top])) / self.scale


def center_box(height: int, width: int) -> CropBox:
    """The largest centerd square inside the photo."""
    size = min(height, width)
    return CropBox((width - size) / 2, (height - size) / 2, size)


def full_box(height: int, width: int) -> CropBox:
    """The smallest centerd square around the whole photo."""
    size = max(height, width)
    return CropBox((width - size) / 2, (height - size) / 2, size)


def box_around(boxes: Float[np.ndarray, "N 4"], margin: float = 1.0) -> CropBox:
    """The square around rectangles.

    Args:
        boxes: left, top, right, bottom, in pixels.
        margin: side of the square over the longer side of the rectangles' union.

    Returns:
        A square with the center of the union.
    """
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    size = float(max(high - low)) * margin
    left, top = (low + high) / 2 - size / 2
    return CropBox(float(left), float(top), size)


def inside(box: CropBox, height: int, width: int) -> CropBox:
    """The square moved into the photo as far as it fits; centerd along a side where it is the
    larger one.
    """
    slack_x, slack_y = width - box.size, height - box.size
    left = min(max(box.left, 0.0), slack_x) if slack_x >= 0 else slack_x / 2
    top = min(max(box.top, 0.0), slack_y) if slack_y >= 0 else slack_y / 2
    return CropBox(left, top, box.size)


def cut(
    image: UInt8[np.ndarray, "H W 3"], box: CropBox, size: int = CROP_SIZE
) -> UInt8[np.ndarray, "S S 3"]:
    """Resamples a square of the photo; what lies outside the photo is gray.

    Args:
        image: RGB photo.
        box: the square, in pixels of the photo.
        size: side of the result, pixels.

    Returns:
        The crop, free of aliasing when it is smaller than the square.
    """
    # Area averaging needs whole pixels: first the pixels the square touches, then the exact
    # sub-pixel window in them.
    left, top = (int(np.floor(start)) for start in (box.left, box.top))
    right, bottom = (int(np.ceil(start + box.size)) for start in (box.left, box.top))
    height, width = image.shape[:2]
    window = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    margins = (min(max(-top, 0), bottom - top), max(bottom - max(height, top), 0))
    margins += (min(max(-left, 0), right - left), max(right - max(width, left), 0))
    if window.size == 0:
        return np.full((size, size, 3), _OUTSIDE, np.uint8)
    window = cv2.copyMakeBorder(window, *margins, cv2.BORDER_CONSTANT, value=(_OUTSIDE,) * 3)
    if box.size > size:
        shape = [max(1, round(n * size / box.size)) for n in (window.shape[1], window.shape[0])]
        window = cv2.resize(window, shape, interpolation=cv2.INTER_AREA)
    zoom = (
        size
        / box.size
        * np.array([(right - left) / window.shape[1], (bottom - top) / window.shape[0]])
    )
    # cv2 counts pixel centers from 0, this project from 0.5.
    offset = (np.array([left, top]) - [box.left, box.top]) * size / box.size + 0.5 * zoom - 0.5
    matrix = np.array([[zoom[0], 0.0, offset[0]], [0.0, zoom[1], offset[1]]])
    return cv2.warpAffine(
        window, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
