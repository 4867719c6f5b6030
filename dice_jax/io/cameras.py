"""The pictures of a webcam, as they come: whoever is slow gets the newest one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from dice_jax.errors import UserError
from dice_jax.io import images

_FAILED_READS = 30  # in a row, after which the camera counts as gone
_PAUSE = 0.02  # seconds after a failed read
_PATIENCE = 2.0  # seconds that `close` waits for a read that hangs


class Camera:
    """A camera; iterate over it once.

    A thread reads all the time. A picture that nobody took before the next one came is dropped, so
    that what is shown is never older than the work on one picture.
    """

    def __init__(self, number: int) -> None:
        """Opens a camera.

        Args:
            number: of the camera, from 0.

        Raises:
            UserError: there is none, or it gives no picture.
        """
        self._capture: Any = _open(number)
        self._changed = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self._stopped = self._gone = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[float, UInt8[np.ndarray, "H W 3"]]]:
        """Seconds from the first picture on, and RGB; ends where the camera is gone or closed."""
        first = None
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._newest is not None or self._gone or self._stopped
                )
                if self._newest is None or self._stopped:
                    return
                (stamp, pixels), self._newest = self._newest, None
            first = stamp if first is None else first
            yield stamp - first, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    @property
    def is_gone(self) -> bool:
        """Whether the camera gives no more pictures, because it was unplugged for instance."""
        return self._gone

    def close(self) -> None:
        """Ends the thread, which releases the camera."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE)

    def _read(self) -> None:
        failed = 0
        try:
            while not self._stopped and failed < _FAILED_READS:
                readable, pixels = self._capture.read()
                if not readable:
                    failed += 1
                    time.sleep(_PAUSE)
                    continue
                failed = 0
                with self._changed:
                    self._newest = time.monotonic(), pixels
                    self._changed.notify_all()
        finally:
            self._capture.release()
            with self._changed:
                self._gone = not self._stopped
                self._changed.notify_all()


def _open(number: int):
    with images.quiet_opencv():
        capture = cv2.VideoCapture(number)
        readable = capture.isOpened() and capture.read()[0]
    if not readable:
        capture.release()
        raise UserError(
            f"camera {number}: there is none, or another program uses it; --camera takes its "
            "number, and the first one is 0"
        )
    return capture
