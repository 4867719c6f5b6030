"""The people of a video as one animated GLB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.rig_motion import person_motion
from dice_jax.io.gltf_animation import FilmCamera, write_film
from dice_jax.io.videos import VideoInfo
from dice_jax.visualization import palette

_PARTS = ("head", "right_hand", "left_hand")


def write(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    info: VideoInfo,
    fitted: tuple[BodyModel, BodyModel],
    alone: tuple[BodyModel, BodyModel],
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Writes the skeletons of everybody in a video, as they move; complete or absent.

    Args:
        path: the .glb file.
        arrays: content of `NAME_params.npz`.
        info: of the video.
        fitted, alone: hand and head that fitted parameters pose, and those of the network alone.
        extras: JSON values to store with the scene.

    Raises:
        OSError: the file cannot be written.
    """
    numbers = sorted({int(name.split("_")[1]) for name in arrays if name.startswith("person_")})
    people, focal_lengths = [], [np.hypot(info.width, info.height)]
    for number in numbers:
        prefix = f"person_{number}_"
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        is_fitted = any(np.isfinite(own.get(f"{part}_residual", np.nan)).any() for part in _PARTS)
        bodies = fitted if is_fitted else alone
        colors = np.asarray(palette.HAND), np.asarray(palette.HEAD)
        people.append(person_motion(f"person_{number}", own, *bodies, *colors))
        focal_lengths += own["focal_length"][np.isfinite(own["focal_length"])].tolist()
    camera = FilmCamera(float(focal_lengths[-1]), info.width, info.height)
    write_film(path, arrays["frame_time"], people, camera, extras)
