"""Captions, color bars and the sheet that panels are laid out on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.visualization import palette

_GAP, _HEADER = 8, 56  # pixels
_BAR_WIDTH, _BAR_HEIGHT = 130, 9


def annotate(
    panel: UInt8[np.ndarray, "H W 3"],
    caption: str,
    bar: tuple[Float[np.ndarray, "K 3"], str, str, str] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Writes a caption at the top left and draws a color bar at the bottom left.

    Args:
        panel: RGB.
        caption: a few words.
        bar: color stops, the words at both ends, and the unit.
    """
    panel = panel.copy()
    text(panel, caption, (14, 26), 15)
    if bar is not None:
        stops, low, high, unit = bar
        left, top = 14, panel.shape[0] - 34
        colors = palette.ramp(np.linspace(0.0, 1.0, _BAR_WIDTH), stops)
        panel[top : top + _BAR_HEIGHT, left : left + _BAR_WIDTH] = np.rint(colors * 255)
        text(panel, low, (left, top + 24), 12, palette.FAINT_INK)
        text(panel, f"{high} {unit}", (left + _BAR_WIDTH - 8, top + 24), 12, palette.FAINT_INK)
    return panel


def sheet(
    panels: Sequence[UInt8[np.ndarray, "H W 3"]], columns: int, title: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Lays equal panels out in rows under a title."""
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
    """Writes into the canvas; `where` is the left end of the baseline, `size` pixels."""
    cv2.putText(
        canvas,
        words,
        where,
        tuple(float(c) * 255 for c in color),
        cv2.FontFace("sans"),
        size,
        weight,
    )


def round_up(value: float) -> float:
    """The next number of the series 1, 2, 3, 4, 5, 6, 8, 10, 20, ...: a full scale that reads well."""
    magnitude = 10.0 ** math.floor(math.log10(value))
    steps = magnitude * np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
    return float(steps[steps >= value * (1 - 1e-9)][0])
