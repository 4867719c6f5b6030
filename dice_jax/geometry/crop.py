"""Square crops of a photo: choosing one, resampling it, and mapping points between the two."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.constants import CROP_SIZE

_OUTSIDE = 124  # gray level outside the photo: ImageNet's mean, about 0 after normalization


@dataclasses.dataclass(frozen=True)
class CropBox:
    """A square in pixels of a photo; it may extend beyond the photo."""

    left: float
    top: float
    size: float

    @property
    def scale(self) -> float:
        """Pixels of the photo per pixel of the crop."""
        return self.size / CROP_SIZE

    def to_photo(self, points: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
        """Maps points from pixels of the crop to pixels of the photo."""
        return np.asarray(points) * self.scale + np.array([self.left, self.top])

    def to_crop(self, points: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
        """Maps points from pixels of the photo to pixels of the crop."""
        return (np.asarray(points) - np.array([self.left, self.top])) / self.scale


def center_box(height: int, width: int) -> CropBox:
    """The largest centered square inside the photo."""
    size = min(height, width)
    return CropBox((width - size) / 2, (height - size) / 2, size)


def full_box(height: int, width: int) -> CropBox:
    """The smallest centered square around the whole photo."""
    size = max(height, width)
    return CropBox((width - size) / 2, (height - size) / 2, size)


def box_around(boxes: Float[np.ndarray, "N 4"], margin: float = 1.0) -> CropBox:
    """The square around rectangles.

    Args:
        boxes: left, top, right, bottom, pixels.
        margin: side of the square, relative to the longer side of the rectangles' bounding box.

    Returns:
        A square with the center of that bounding box.
    """
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    size = float(max(high - low)) * margin
    left, top = (low + high) / 2 - size / 2
    return CropBox(float(left), float(top), size)


def move_inside(box: CropBox, height: int, width: int) -> CropBox:
    """Moves the square into the photo; along an axis where it is too large, centers it."""
    slack_x, slack_y = width - box.size, height - box.size
    left = min(max(box.left, 0.0), slack_x) if slack_x >= 0 else slack_x / 2
    top = min(max(box.top, 0.0), slack_y) if slack_y >= 0 else slack_y / 2
    return CropBox(left, top, box.size)


def cut(
    image: UInt8[np.ndarray, "H W 3"], box: CropBox, size: int = CROP_SIZE
) -> UInt8[np.ndarray, "S S 3"]:
    """Resamples a square of the photo; pixels outside the photo are gray.

    Args:
        image: RGB photo.
        box: the square, in pixels of the photo.
        size: side of the result, pixels.

    Returns:
        The crop, without aliasing if it is smaller than the square.
    """
    # Area averaging needs whole pixels: first cut all pixels that the square touches, then resample
    # the exact sub-pixel window from them.
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
    shrink = np.array([(right - left) / window.shape[1], (bottom - top) / window.shape[0]])
    zoom = size / box.size * shrink
    # Pixel centers lie at whole numbers in OpenCV, at +0.5 in this project.
    offset = (np.array([left, top]) - [box.left, box.top]) * size / box.size + 0.5 * zoom - 0.5
    matrix = np.array([[zoom[0], 0.0, offset[0]], [0.0, zoom[1], offset[1]]])
    return cv2.warpAffine(
        window, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
