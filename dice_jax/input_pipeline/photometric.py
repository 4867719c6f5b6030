"""The reference's changes of the pixels, one at a time, and other backgrounds behind a person."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from dice_jax.errors import UserError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_BLACK = 0.2  # share of the new backgrounds that are black, as in the reference
_KEPT_SIDE = 512  # pictures are kept at this size at most
_KEPT = 64


def one_change(
    image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Exactly one of blur, color, posterising, sharpening, stretched contrast and equalized
    histogram (RGB).
    """
    return _CHANGES[rng.integers(len(_CHANGES))](image, rng)


def _blur(image, rng):
    return cv2.GaussianBlur(image, (3, 9), rng.uniform(0.1, 5.0))


def _color(image, rng):
    """Brightness by half, hue by three tenths of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
    hsv[..., 0] += int(256 * rng.uniform(-0.3, 0.3))
    image = cv2.cvtColor((hsv % 256).astype(np.uint8), cv2.COLOR_HSV2RGB_FULL)
    return np.clip(image * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)


def _posterize(image, rng):
    del rng
    return image & 0b11000000


def _sharpen(image, rng):
    del rng
    smooth = cv2.GaussianBlur(image, (3, 3), 0).astype(np.int16)
    return np.clip(2 * image.astype(np.int16) - smooth, 0, 255).astype(np.uint8)


def _stretch(image, rng):
    del rng
    low, high = np.array([cv2.minMaxLoc(channel)[:2] for channel in cv2.split(image)]).T
    levels = (np.arange(256.0)[:, None] - low) * 255 / np.maximum(high - low, 1)
    return cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])


def _equalize(image, rng):
    del rng
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(3)], -1)


_CHANGES = (_blur, _color, _posterize, _sharpen, _stretch, _equalize)


class Backgrounds:
    """Random crops of the pictures of a folder, or black; the pictures are read as they are needed,
    few are kept.
    """

    def __init__(self, folder: str | Path):
        """Lists the pictures, in the folder and below.

        Raises:
            UserError: there are none.
        """
        self._paths = sorted(
            path
            for path in Path(folder).expanduser().rglob("*")
            if path.suffix.lower() in _SUFFIXES
        )
        if not self._paths:
            raise UserError(
                f"no pictures in the folder of backgrounds {folder} (looked for {', '.join(_SUFFIXES)})"
            )
        self._read = functools.lru_cache(maxsize=_KEPT)(self._read)

    def draw(self, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
        """A square of `size` pixels, decided by `rng` alone."""
        black, number, place = (
            rng.uniform() < _BLACK,
            rng.integers(len(self._paths)),
            rng.uniform(size=2),
        )
        if black:
            return np.zeros((size, size, 3), np.uint8)
        picture = self._read(int(number))
        height, width = picture.shape[:2]
        if min(height, width) < size:
            zoom = size / min(height, width)
            picture = cv2.resize(
                picture, (max(size, round(width * zoom)), max(size, round(height * zoom)))
            )
            height, width = picture.shape[:2]
        top, left = int(place[0] * (height - size + 1)), int(place[1] * (width - size + 1))
        return picture[top : top + size, left : left + size]

    def _read(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        picture = cv2.imread(str(self._paths[number]), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise UserError(
                f"{self._paths[number]} cannot be read: take it out of the folder of backgrounds"
            )
        zoom = _KEPT_SIDE / max(picture.shape[:2])
        return (
            picture
            if zoom >= 1
            else cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        )


def replace_background(
    image: UInt8[np.ndarray, "H W 3"],
    foreground: Bool[np.ndarray, "H W"],
    background: UInt8[np.ndarray, "H W 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """The person of `image` in front of `background`."""
    return cv2.copyTo(image, foreground.view(np.uint8), np.array(background))
