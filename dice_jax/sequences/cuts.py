"""Cuts of a film: where the picture changes at once, what was known of the people is forgotten."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

_SIZE = (32, 24)  # pixels of the small picture
_BINS = 16
_DIFFERENT = 0.12  # mean difference of the small pictures, of the range from black to white
_OVERLAP = 0.70  # of the colors, which motion within a scene hardly changes


class CutDetector:
    """Says whether a frame begins another scene."""

    def __init__(self) -> None:
        self.small: np.ndarray | None = None
        self.colors: np.ndarray | None = None

    def __call__(self, frame: UInt8[np.ndarray, "H W 3"]) -> bool:
        """Whether there is a cut between the frame before and this one."""
        small = cv2.resize(frame, _SIZE, interpolation=cv2.INTER_AREA)
        colors = np.stack([np.histogram(small[..., c], _BINS, (0, 256))[0] for c in range(3)]) / (
            _SIZE[0] * _SIZE[1]
        )
        before, before_colors = self.small, self.colors
        self.small, self.colors = small, colors
        if before is None or before_colors is None:
            return False
        difference = np.abs(small.astype(np.float32) - before).mean() / 255.0
        overlap = np.minimum(colors, before_colors).sum(axis=1).mean()
        return bool(difference > _DIFFERENT and overlap < _OVERLAP)
