"""Who and what is in each sample, noted while the samples are read for their pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.input_pipeline.loader import Sample, Source


@dataclasses.dataclass(frozen=True)
class Labels:
    """Of N samples: the person's number, the gesture ("" unknown), the skin tone in [0, 1] (NaN
    unknown).
    """

    subject: Int[np.ndarray, "N"]
    gesture: np.ndarray
    skin_tone: Float[np.ndarray, "N"]


class LabeledSource:
    """A `Source` that remembers the labels of the samples read through it, so that nothing is read
    twice.
    """

    def __init__(self, source: Source):
        self._source = source
        self._seen: dict[int, tuple[int, str, float]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        gesture = sample.get("gesture", "")
        # A sample of nobody known is somebody of its own.
        self._seen[index] = (
            int(sample.get("subject", -1 - index)),
            gesture.decode() if isinstance(gesture, bytes) else str(gesture),
            float(sample.get("skin_tone", np.nan)),
        )
        return sample

    def labels(self, count: int) -> Labels:
        """Of the first `count` samples, all of which must have been read."""
        subject, gesture, skin_tone = zip(*(self._seen[index] for index in range(count)))
        return Labels(
            np.array(subject, np.int64), np.array(gesture, str), np.array(skin_tone, np.float32)
        )
