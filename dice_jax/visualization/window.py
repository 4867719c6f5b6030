"""A window that shows pictures as they come."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np
from jaxtyping import UInt8

from dice_jax.errors import UserError

_END_KEYS = (ord("q"), 27)  # and Escape


class Window:
    """A window of OpenCV."""

    def __init__(self, title: str) -> None:
        """Opens no window yet; `show` does.

        Raises:
            UserError: OpenCV was built without windows, or there is no screen.
        """
        if not cv2.currentUIFramework():
            raise UserError(
                "this OpenCV has no windows, it is opencv-python-headless: "
                "pip uninstall opencv-python-headless, then pip install opencv-python"
            )
        # Qt ends the process where it finds no screen.
        no_screen = not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        if sys.platform.startswith("linux") and no_screen:
            raise UserError("there is no screen for a window: neither DISPLAY nor WAYLAND_DISPLAY")
        self.title, self.shown = title, False

    def show(self, pixels: UInt8[np.ndarray, "H W 3"]) -> bool:
        """Shows an RGB picture.

        Returns:
            Whether to go on: nobody has pressed q or Escape or closed the window.
        """
        if not self.shown:
            cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        elif cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            return False
        self.shown = True
        cv2.imshow(self.title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return (cv2.waitKey(1) & 0xFF) not in _END_KEYS

    def close(self) -> None:
        """Closes the window."""
        if self.shown:
            cv2.destroyWindow(self.title)
