"""Reads videos frame by frame with OpenCV: upright RGB, the time of each frame, one-line errors."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from dice_jax.errors import UserError
from dice_jax.io import images
from dice_jax.untrusted_files import kinds

# OpenCV reads these once, before the first video that the process opens. FFmpeg writes no lines of
# its own on the error output, and playlists that call themselves videos open no connections.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".mts",
    ".3gp",
    ".wmv",
)
_TYPICAL_FPS = 30.0
_FASTEST = 240.0  # frames per second; above, the number in the file is none
_SIDES = (32, 8192)  # pixels
_LONGEST_GAP = 10.0  # seconds between two frames; a longer one is a damaged time stamp
_FAILED_READS = 30  # damaged frames in a row after which the rest of a file is given up


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says.

    Attributes:
        width, height: of the upright frames, pixels.
        fps: frames per second; of a variable rate, the nominal one.
        frames: how many there should be; 0 where the file does not say.
    """

    width: int
    height: int
    fps: float
    frames: int


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        index: among the frames that could be decoded, from 0.
        time: seconds from the first frame.
        pixels: RGB, upright.
    """

    index: int
    time: float
    pixels: UInt8[np.ndarray, "H W 3"]


def probe(path: str | Path) -> VideoInfo:
    """Reads the header of a video, and its first frame.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is no video, is damaged, holds sound alone, or is too large.
    """
    with _opened(path) as capture:
        readable, first = capture.read()
        if not readable:
            raise UserError(f"{path}: no frame can be read; it holds sound alone or is damaged")
        height, width = first.shape[:2]
        if min(height, width) < _SIDES[0] or max(height, width) > _SIDES[1]:
            raise UserError(
                f"{path}: frames of {width} x {height} are not used; "
                f"sides of {_SIDES[0]} to {_SIDES[1]} pixels are"
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(fps) and 0 < fps <= _FASTEST):
            fps = _TYPICAL_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        frames = int(count) if math.isfinite(count) and 0 < count < 1e9 else 0
    return VideoInfo(width, height, float(fps), frames)


def read_frames(path: str | Path, start: int = 0) -> Iterator[Frame]:
    """Decodes a video, one frame at a time.

    A damaged frame is left out; the times of the others stay right. A file that ends early gives
    the frames before that.

    Args:
        path: of the file.
        start: number of frames at the beginning that are decoded and not yielded.

    Raises:
        FileNotFoundError, UserError: see `probe`.
    """
    fps = probe(path).fps
    with _opened(path) as capture:
        index, time, first, failed, shape = 0, 0.0, None, 0, None
        while failed < _FAILED_READS:
            if not capture.grab():
                failed += 1
                continue
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            if first is None:
                first = stamp
            else:
                # Containers without time stamps say 0, or repeat them.
                later = stamp - first
                time = later if time < later < time + _LONGEST_GAP else time + 1.0 / fps
            # Those before `start` too: the damaged ones among them do not count.
            readable, pixels = capture.retrieve()
            if not readable or (shape is not None and pixels.shape != shape):
                failed += 1
                continue
            shape = pixels.shape
            if index >= start:
                yield Frame(index, time, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            failed, index = 0, index + 1


def open_capture(path: str | Path) -> cv2.VideoCapture:
    """Opens a video for reading; the caller releases it.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is no video.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    _refuse_playlists(path)
    with images.quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        reason = ValueError("it cannot be opened: cut off, sound alone, or an unknown format")
        raise UserError(kinds.refusal(path, "a video", reason, "get it again", "mp4"))
    return capture


def _refuse_playlists(path: Path) -> None:
    """Lists of other files, which FFmpeg would open, are no videos."""
    with path.open("rb") as file:
        start = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"[playlist]")):
        raise UserError(f"{path} is a list of other files, not a video: give the files themselves")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[cv2.VideoCapture]:
    capture = open_capture(path)
    try:
        with images.quiet_opencv():
            yield capture
    finally:
        capture.release()
