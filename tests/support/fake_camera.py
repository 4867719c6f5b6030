"""A stand-in for `cv2.VideoCapture`, whose pictures show their number."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np


class FakeCapture:
    """Gives `count` pictures; `allowed` says how many it may give until now."""

    def __init__(self, shape=(48, 64), count=10**9, allowed=10**9, pause=0.0) -> None:
        self.shape, self.count, self.allowed, self.pause = shape, count, allowed, pause
        self.given, self.released = 0, threading.Event()
        self.changed = threading.Condition()

    def isOpened(self) -> bool:
        return self.count > 0

    def read(self):
        with self.changed:
            self.changed.wait_for(lambda: self.given < self.allowed or self.released.is_set(), 5)
        time.sleep(self.pause)
        if self.given >= self.count:
            return False, None
        pixels = np.zeros((*self.shape, 3), np.uint8)
        pixels[..., 0] = self.given % 256  # blue
        self.given += 1
        return True, pixels

    def allow(self, count: int) -> None:
        with self.changed:
            self.allowed = count
            self.changed.notify_all()

    def release(self) -> None:
        self.released.set()


def plug_in(monkeypatch, capture: FakeCapture) -> FakeCapture:
    """Makes the capture every camera of the machine; files are opened as before."""
    original = cv2.VideoCapture

    def opened(source, *options):
        return capture if isinstance(source, int) else original(source, *options)

    monkeypatch.setattr(cv2, "VideoCapture", opened)
    return capture
