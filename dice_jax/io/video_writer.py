"""Writes videos that play in a browser: H.264 in MP4, with the sound of another file.

FFmpeg encodes, the one that the package imageio-ffmpeg brings (the extra `video`) or one of the
system.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dice_jax.errors import UserError
from dice_jax.io import atomic

_QUALITY = "20"  # x264's constant rate factor; 18 cannot be told from the original
_QUIET = ("-hide_banner", "-loglevel", "error", "-y")
_LAST_WORDS = 300  # characters of FFmpeg's message that are shown


def ffmpeg() -> str:
    """The path of FFmpeg.

    Raises:
        UserError: there is none; the message says how to get it.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]

        try:
            return imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:  # a wheel without a program, for a platform that has none
            pass
    found = shutil.which("ffmpeg")
    if found is None:
        raise UserError("videos need FFmpeg: pip install 'dice_jax[video]'")
    return found


class VideoWriter:
    """Encodes frames as they come. The file is complete after `close`, and absent before.

    Frames have a constant rate; `write` repeats or leaves out frames so that each is shown at its
    time, whatever the rate of the source.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float, first: int = 0):
        """Starts the encoder.

        Args:
            path: the .mp4 file.
            size: width and height of the frames, pixels. Odd ones lose their last row or column,
                which the format does not have.
            fps: frames per second.
            first: number of frames that lie before the file, where it is a part of a video.

        Raises:
            UserError: there is no FFmpeg.
            OSError: its folder cannot be written.
        """
        self.path, self.fps = Path(path), fps
        self.width, self.height = (side - side % 2 for side in size)
        self.written = first  # where the next frame goes, in frames from time 0
        self.latest: np.ndarray | None = None
        program = ffmpeg()  # before there is anything to remove
        self.folder = tempfile.TemporaryDirectory(prefix=".encoding_", dir=self.path.parent)
        self.partial = Path(self.folder.name) / "video.mp4"
        self.messages = tempfile.TemporaryFile()  # noqa: SIM115 (`abort` closes it)
        command = [program, *_QUIET, "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{self.width}x{self.height}", "-r", f"{fps:.6f}", "-i", "-", *_H264]
        # A session of its own: Ctrl-C reaches this process alone, which can keep the film then.
        self.process = subprocess.Popen(
            [*command, str(self.partial)],
            stdin=subprocess.PIPE,
            stderr=self.messages,
            start_new_session=True,
        )

    def write(self, pixels: UInt8[np.ndarray, "H W 3"], time: float) -> None:
        """Shows a frame from `time` (seconds) on.

        Raises:
            OSError: the encoder stopped, for instance because the disk is full.
        """
        slot = round(time * self.fps)
        if self.latest is not None:
            while self.written < slot:
                self._encode(self.latest)
        self.latest = pixels[: self.height, : self.width]

    def close(self) -> None:
        """Finishes the file and gives it its name.

        Raises:
            OSError: the encoder failed.
        """
        try:
            if self.latest is not None:
                self._encode(self.latest)
            self._finish()
            with atomic.atomic_path(self.path) as temporary:
                self.partial.replace(temporary)
        finally:
            self.abort()

    def abort(self) -> None:
        """Stops the encoder and leaves no file."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.messages.close()
        self.folder.cleanup()

    def _encode(self, pixels) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(np.ascontiguousarray(pixels).tobytes())
        except BrokenPipeError:
            self._finish()
        self.written += 1

    def _finish(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.wait():
            self.messages.seek(0)
            raise OSError(f"{self.path}: cannot be encoded ({_last_line(self.messages.read())})")


_H264 = (
    *("-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", _QUALITY, "-pix_fmt", "yuv420p"),
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv", "-color_range", "tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-movflags", "+faststart"),
)


def join(parts: Sequence[str | Path], path: str | Path, sound: str | Path | None = None) -> None:
    """Joins videos of one size and rate without encoding them again, and adds sound.

    Args:
        parts: in order, written by `VideoWriter`.
        path: of the result, whole or absent.
        sound: a file of which the sound is taken, if it has any.

    Raises:
        OSError: FFmpeg failed, or the file cannot be written.
    """
    path = Path(path)
    lines = [f"file '{_quoted(Path(part).resolve())}'\n" for part in parts]
    with atomic.atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "parts.txt"  # read at once, also inside of `atomic.together`
        listed.write_text("ffconcat version 1.0\n" + "".join(lines), encoding="utf-8")
        inputs = ["-f", "concat", "-safe", "0", "-i", str(listed)]
        chosen = ["-map", "0:v:0", "-c:v", "copy"]
        if sound is not None:
            # Playlists that call themselves videos open no other files and no connections.
            inputs += ["-protocol_whitelist", "file", "-i", f"file:{Path(sound).resolve()}"]
            chosen += ["-map", "1:a:0?", "-c:a", "aac"]
        command = [ffmpeg(), *_QUIET, *inputs, *chosen, "-movflags", "+faststart", str(temporary)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise OSError(f"{path}: cannot be joined ({_last_line(done.stderr)})")


def _quoted(path: Path) -> str:
    """For FFmpeg's list of files."""
    return str(path).replace("'", "'\\''")


def _last_line(message: bytes) -> str:
    lines = message.decode(errors="replace").strip().splitlines()
    return lines[-1][-_LAST_WORDS:] if lines else "FFmpeg gives no reason"
