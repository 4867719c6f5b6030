"""From the frames of a video to the people in each; exported as `reconstruct_video`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from dice_jax import inference
from dice_jax.fitting import detector_points
from dice_jax.person import Person
from dice_jax.reconstruction import detect, reconstruct
from dice_jax.sequences.cuts import CutDetector
from dice_jax.sequences.people import Tracks

_LOOK_AROUND = 15  # frames after which everybody is searched in the whole picture again


@dataclasses.dataclass(frozen=True)
class FramePeople:
    """Who is in a frame.

    Attributes:
        people: numbers of the people through the video, from 1, and the people.
        raw: the people without smoothing, in the same order.
        cut: whether the frame begins another scene.
    """

    people: list[tuple[int, Person]]
    raw: list[Person]
    cut: bool


def reconstruct_video(
    model: inference.Model,
    frames: Iterable[tuple[float, np.ndarray]],
    *,
    smooth: str = "light",
    previous: Sequence[Person] = (),
    tracks: Tracks | None = None,
    **options: Any,
) -> Iterator[FramePeople]:
    """`reconstruct` of every frame: people are followed, numbered, and move smoothly.

    Memory does not grow with the length of the video.

    Args:
        model: from `load`.
        frames: time in seconds, and RGB (H, W, 3) uint8.
        smooth: "off", "light" or "strong".
        previous: people of the frame before the first one, where a video goes on; `raw` ones.
        tracks: who was followed until there; None: nobody.
        **options: of `reconstruct`.

    Yields:
        The people of each frame.

    Raises:
        ValueError: see `reconstruct`.
    """
    if tracks is None:
        bodies = detector_points.prepare(model.hand_model, model.head_model)
        tracks = Tracks(smooth, bodies.hand_model, bodies.head_model)
    is_cut, since, shape = CutDetector(), 0, None
    for time, pixels in frames:
        cut = is_cut(pixels) or (shape is not None and shape != pixels.shape)
        shape = pixels.shape
        if cut:
            previous = ()
            tracks.reset()
        since = 0 if not previous or since >= _LOOK_AROUND else since + 1
        found = None if since else detect(pixels, options.get("hand", "auto"), options.get("box"))
        before = previous if all(person.is_fitted for person in previous) else ()
        raw = reconstruct(model, pixels, people=found, previous=before, **options)
        yield FramePeople(tracks(raw, time), raw, cut)
        previous = raw
