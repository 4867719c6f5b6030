"""The pixel changes of the reference, one at a time, and other backgrounds behind a person."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from dice_jax import user_folders
from dice_jax.errors import UserError
from dice_jax.io import images

_BLACK_SHARE = 0.2  # of the new backgrounds, as in the reference
_CACHED_SIDE = 512  # pixels: the longer side of cached images at most
_CACHED_IMAGES = 64

Image = UInt8[np.ndarray, "H W 3"]


def one_change(image: Image, rng: np.random.Generator) -> Image:
    """Applies exactly one of `CHANGES` to an RGB image."""
    return CHANGES[rng.integers(len(CHANGES))](image, rng)


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Gaussian blur of 3 x 9 pixels with a standard deviation of 0.1 to 5 pixels."""
    return cv2.GaussianBlur(image, (3, 9), rng.uniform(0.1, 5.0))


def change_color(image: Image, rng: np.random.Generator) -> Image:
    """Changes brightness by up to 50 % and hue by up to 30 % of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
    hsv[..., 0] += int(256 * rng.uniform(-0.3, 0.3))
    image = cv2.cvtColor((hsv % 256).astype(np.uint8), cv2.COLOR_HSV2RGB_FULL)
    return np.clip(image * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)


def posterize(image: Image, rng: np.random.Generator) -> Image:
    """Keeps the two highest bits of each channel."""
    del rng
    return image & 0b11000000


def sharpen(image: Image, rng: np.random.Generator) -> Image:
    """Adds the difference to a blurred image."""
    del rng
    smooth = cv2.GaussianBlur(image, (3, 3), 0).astype(np.int16)
    return np.clip(2 * image.astype(np.int16) - smooth, 0, 255).astype(np.uint8)


def stretch_contrast(image: Image, rng: np.random.Generator) -> Image:
    """Stretches each channel to the range 0 to 255."""
    del rng
    low, high = np.array([cv2.minMaxLoc(channel)[:2] for channel in cv2.split(image)]).T
    levels = (np.arange(256.0)[:, None] - low) * 255 / np.maximum(high - low, 1)
    return cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])


def equalize(image: Image, rng: np.random.Generator) -> Image:
    """Equalizes the histogram of each channel."""
    del rng
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(3)], -1)


CHANGES = (blur, change_color, posterize, sharpen, stretch_contrast, equalize)


class Backgrounds:
    """Random square crops of the images of a folder, or black; images are read on demand."""

    def __init__(self, folder: str | Path):
        """Lists the images of `folder` and its subfolders.

        Raises:
            UserError: there are none.
        """
        self._paths = sorted(
            path
            for path in user_folders.expand(folder).rglob("*")
            if path.suffix.lower() in images.readable_suffixes()
        )
        if not self._paths:
            raise UserError(
                f"no images in the folder of backgrounds {folder} "
                f"(looked for {', '.join(images.readable_suffixes())})"
            )
        self._image = functools.lru_cache(maxsize=_CACHED_IMAGES)(self._read)

    def draw(self, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
        """A square of `size` pixels, RGB; `rng` alone determines it."""
        is_black = rng.uniform() < _BLACK_SHARE
        number = int(rng.integers(len(self._paths)))
        place = rng.uniform(size=2)
        if is_black:
            return np.zeros((size, size, 3), np.uint8)
        image = self._image(number)
        height, width = image.shape[:2]
        if min(height, width) < size:
            zoom = size / min(height, width)
            width, height = max(size, round(width * zoom)), max(size, round(height * zoom))
            image = cv2.resize(image, (width, height))
        top, left = int(place[0] * (height - size + 1)), int(place[1] * (width - size + 1))
        return image[top : top + size, left : left + size]

    def _read(self, number: int) -> Image:
        try:
            image = images.read_image(self._paths[number])
        except ValueError as error:
            raise UserError(f"{error}: remove it from the folder of backgrounds") from None
        zoom = _CACHED_SIDE / max(image.shape[:2])
        if zoom >= 1:
            return image
        return cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)


def replace_background(
    image: Image, foreground: Bool[np.ndarray, "H W"], background: Image
) -> Image:
    """Puts the person of `image` in front of `background`."""
    return cv2.copyTo(image, foreground.view(np.uint8), np.array(background))
