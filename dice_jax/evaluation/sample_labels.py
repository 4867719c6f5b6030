"""Person, gesture and skin tone of each sample, recorded while the samples are read."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.input_pipeline.loader import Sample, Source


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of N samples.

    Attributes:
        subject: number of the person.
        gesture: name of the gesture, "" where unknown.
        skin_tone: 0 the lightest to 1 the darkest, NaN where unknown.
    """

    subject: Int[np.ndarray, "N"]
    gesture: np.ndarray
    skin_tone: Float[np.ndarray, "N"]


class LabeledSource:
    """A `Source` that records the labels of the samples read through it.

    The labels need no second pass over the data.
    """

    def __init__(self, source: Source):
        self._source = source
        self._labels: dict[int, tuple[int, str, float]] = {}
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        gesture = sample.get("gesture", "")
        # Each sample of an unknown person counts as a person of its own, with a negative number.
        self._labels[index] = (
            int(sample.get("subject", -1 - index)),
            gesture.decode() if isinstance(gesture, bytes) else str(gesture),
            float(sample.get("skin_tone", np.nan)),
        )
        self._names[index] = _name(sample, index)
        return sample

    def name(self, index: int) -> str:
        """Name of a sample that was read before, see `prediction_files`."""
        return self._names[index]

    def labels(self, count: int) -> Labels:
        """Labels of the first `count` samples, all of which must have been read before."""
        subject, gesture, skin_tone = zip(*(self._labels[index] for index in range(count)))
        return Labels(
            np.array(subject, np.int64), np.array(gesture, str), np.array(skin_tone, np.float32)
        )


def _name(sample: Sample, index: int) -> str:
    """S1_108_00042 (subject, camera, frame) for a frame of a video, else its number."""
    if "view" not in sample or "frame" not in sample:
        return f"{index:06d}"
    subject, view, frame = (int(sample[key]) for key in ("subject", "view", "frame"))
    return f"S{subject}_{view:03d}_{frame:05d}"
