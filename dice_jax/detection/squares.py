"""Rotated squares of a photo: what the networks look at, and where it is in the photo."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_OUTSIDE = (124, 124, 124)  # gray level outside the photo


@dataclasses.dataclass(frozen=True)
class Square:
    """A rotated and possibly mirrored square of a photo.

    Attributes:
        center: pixels.
        side: pixels.
        angle: from the photo's x axis to the square's x axis, radians. (The latter before
            mirroring.)
        mirrored: whether the square's x axis is reversed.
    """

    center: Float[np.ndarray, "2"]
    side: float
    angle: float = 0.0
    mirrored: bool = False

    def axes(self) -> Float[np.ndarray, "2 2"]:
        """The square's unit axes in the photo, as columns."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        return turn * np.array([-1.0 if self.mirrored else 1.0, 1.0])

    def matrix(self, size: int) -> Float[np.ndarray, "2 3"]:
        """The affine map from the square, resampled to `size` pixels a side, to the photo."""
        linear = self.side / size * self.axes()
        return np.column_stack([linear, self.center - linear @ [size / 2, size / 2]])

    def to_photo(self, points: Float[np.ndarray, "*B 2"], size: int) -> Float[np.ndarray, "*B 2"]:
        """Points of the square, resampled to `size` pixels a side, in pixels of the photo."""
        matrix = self.matrix(size)
        return points @ matrix[:, :2].T + matrix[:, 2]


def around_photo(height: int, width: int) -> Square:
    """The smallest centered square around the whole photo."""
    return Square(np.array([width / 2, height / 2]), float(max(height, width)))


class Pyramid:
    """A photo and halved copies of it, so that a large square is resampled without aliasing."""

    def __init__(self, photo: UInt8[np.ndarray, "H W 3"]):
        self._levels = [np.ascontiguousarray(photo)]

    @property
    def height(self) -> int:
        """Of the photo, pixels."""
        return self._levels[0].shape[0]

    @property
    def width(self) -> int:
        """Of the photo, pixels."""
        return self._levels[0].shape[1]

    def cut(
        self, square: Square, size: int, replicate: bool = False
    ) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """The content of the square.

        Args:
            square: in pixels of the photo.
            size: side of the result, pixels.
            replicate: outside the photo, repeat its border; otherwise gray.
        """
        wanted = max(0, int(np.log2(max(square.side / size, 1.0))))
        level = self._level(wanted)
        matrix = square.matrix(size) / 2.0**level
        # cv2 counts pixel centers from 0, this package from 0.5.
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        return cv2.warpAffine(
            self._levels[level],
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT,
            borderValue=_OUTSIDE,
        )

    def _level(self, wanted: int) -> int:
        """The number of times that the photo is halved: `wanted`, or as often as possible."""
        while len(self._levels) <= wanted:
            height, width = (n // 2 for n in self._levels[-1].shape[:2])
            if min(height, width) < 1:
                break
            even = self._levels[-1][: 2 * height, : 2 * width]
            self._levels.append(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
        return min(wanted, len(self._levels) - 1)
