"""People in front of a webcam, as they move: in a window, and in a film."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax import inference
from dice_jax.io import video_writer
from dice_jax.io.cameras import Camera
from dice_jax.sequences.video_people import reconstruct_video
from dice_jax.visualization import overlay
from dice_jax.visualization.window import Window

_FPS = 20.0  # of the film; slower pictures are repeated


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        frames: number of pictures that were worked on.
        seconds: from the first one to the last one.
        gone: whether it ended because the camera gave no more pictures.
    """

    frames: int
    seconds: float
    gone: bool


def run(
    model: inference.Model,
    number: int,
    window: Window | None,
    record: Path | None = None,
    **options: Any,
) -> Summary:
    """Reconstructs the newest picture again and again until somebody ends it.

    Args:
        model: from `load`.
        number: of the camera, from 0.
        window: shows the pictures with the meshes over them; it ends the run. Without, Ctrl-C does.
        record: .mp4 file of what is shown; the time is that of the camera.
        **options: of `reconstruct_video`.

    Raises:
        UserError: there is no such camera; or no FFmpeg, where `record` is given.
        OSError: the film cannot be written.
    """
    if record is not None:
        video_writer.ffmpeg()
    faces = np.asarray(model.hand_model.faces), np.asarray(model.head_model.faces)
    camera, writer, count, last = Camera(number), None, 0, 0.0
    current: list[tuple[float, np.ndarray]] = []

    def pictures():
        for picture in camera:
            current[:] = [picture]
            yield picture

    try:
        # Ctrl-C is how a run without a window ends, and what was recorded is kept.
        with contextlib.suppress(KeyboardInterrupt):
            for found in reconstruct_video(model, pictures(), **options):
                last, pixels = current[0]
                people = [person for _, person in found.people]
                drawn = overlay.people_over_frame(pixels, people, *faces)
                count += 1
                if record is not None:
                    if writer is None:
                        size = drawn.shape[1], drawn.shape[0]
                        writer = video_writer.VideoWriter(record, size, _FPS)
                    writer.write(drawn, last)
                if window is not None and not window.show(drawn):
                    break
        if writer is not None:
            writer.close()
    finally:
        if writer is not None:
            writer.abort()
        gone = camera.is_gone
        camera.close()
        if window is not None:
            window.close()
    return Summary(count, last, gone)
