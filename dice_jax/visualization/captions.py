"""Captions, color bars, and the sheet on which panels are laid out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.visualization import palette

_GAP, _HEADER = 8, 56  # pixels
_BAR_WIDTH, _BAR_HEIGHT = 130, 9  # pixels
_FULL_SCALES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])


class ColorBar(NamedTuple):
    """The legend of a color ramp: its color stops, the words at both ends, and the unit."""

    stops: Float[np.ndarray, "K 3"]
    low: str
    high: str
    unit: str


def annotate(
    panel: UInt8[np.ndarray, "H W 3"], caption: str, bar: ColorBar | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy with a caption at the top left and, if given, a color bar at the bottom left."""
    panel = panel.copy()
    text(panel, caption, (14, 26), 15)
    if bar is not None:
        left, top = 14, panel.shape[0] - 34
        colors = palette.ramp(np.linspace(0.0, 1.0, _BAR_WIDTH), bar.stops)
        panel[top : top + _BAR_HEIGHT, left : left + _BAR_WIDTH] = np.rint(colors * 255)
        text(panel, bar.low, (left, top + 24), 12, palette.FAINT_INK)
        high = f"{bar.high} {bar.unit}"
        text(panel, high, (left + _BAR_WIDTH - 8, top + 24), 12, palette.FAINT_INK)
    return panel


def sheet(
    panels: Sequence[UInt8[np.ndarray, "H W 3"]], columns: int, title: str
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Panels of equal size in rows of `columns`, below a title."""
    height, width = panels[0].shape[:2]
    rows = math.ceil(len(panels) / columns)
    shape = (_HEADER + rows * (height + _GAP), _GAP + columns * (width + _GAP), 3)
    canvas = np.full(shape, 255, np.uint8)
    for i, panel in enumerate(panels):
        top, left = _HEADER + i // columns * (height + _GAP), _GAP + i % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = panel
    text(canvas, title, (_GAP + 14, 36), 19, weight=600)
    return canvas


def text(
    canvas: UInt8[np.ndarray, "H W 3"],
    words: str,
    where: tuple[int, int],
    size: int,
    color: Float[np.ndarray, "3"] = palette.INK,
    weight: int = 400,
) -> None:
    """Writes text into the canvas.

    Args:
        canvas: RGB, changed in place.
        words: one line.
        where: left end of the baseline, x and y in pixels.
        size: of the font, pixels.
        color: sRGB in [0, 1].
        weight: of the font; 400 is regular.
    """
    rgb = tuple(float(channel) * 255 for channel in color)
    cv2.putText(canvas, words, where, rgb, cv2.FontFace("sans"), size, weight)


def round_up(value: float) -> float:
    """The next number of the series 1, 2, 3, 4, 5, 6, 8, 10, 20, ..., for the end of a scale."""
    scales = 10.0 ** math.floor(math.log10(value)) * _FULL_SCALES
    return float(scales[scales >= value * (1 - 1e-9)][0])
