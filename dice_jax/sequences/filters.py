"""One-euro filters (Casiez, Roussel and Vogel, CHI 2012) of vectors and of rotations.

A low-pass filter whose cutoff frequency rises with speed: still things stand still, and fast ones
do not lag. The first samples are averaged with equal weights, so that the noise of the very first
one does not stay for long.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

_SPEED_CUTOFF = 2.0  # Hz, of the filter of the speed
_SHORTEST = 1e-4  # seconds between two samples


@dataclasses.dataclass(frozen=True)
class Cutoff:
    """How strongly a filter smooths.

    Attributes:
        still: cutoff frequency of what does not move, Hz.
        per_speed: by how much it rises, Hz per unit of speed.
    """

    still: float
    per_speed: float

    def at(self, speed: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """The cutoff frequency, Hz."""
        return self.still + self.per_speed * speed


def _share(cutoff, step: float):
    """The share of a new sample: 1 for an infinite cutoff."""
    rate = 2.0 * math.pi * cutoff * step
    return rate / (rate + 1.0)


class VectorFilter:
    """Filters vectors (*B, D); each row has the cutoff of its own speed."""

    def __init__(self, cutoff: Cutoff) -> None:
        self.cutoff = cutoff
        self.count = 0

    def __call__(self, value: Float[np.ndarray, "*B D"], time: float) -> Float[np.ndarray, "*B D"]:
        """The smooth value at `time` (seconds, later than the one before)."""
        value = np.asarray(value, np.float64)
        if self.count == 0:
            self.value = self.latest = value
            self.speed = np.zeros_like(value)
        else:
            step = max(time - self.time, _SHORTEST)
            speed = (value - self.latest) / step
            self.speed = self.speed + _speed_share(self.count, step) * (speed - self.speed)
            cutoff = self.cutoff.at(np.linalg.norm(self.speed, axis=-1, keepdims=True))
            share = np.maximum(_share(cutoff, step), 1.0 / (self.count + 1))
            self.value = self.value + share * (value - self.value)
            self.latest = value
        self.time, self.count = time, self.count + 1
        return self.value


class RotationFilter:
    """Filters rotations on their manifold, along geodesics; each one has its own cutoff."""

    def __init__(self, cutoff: Cutoff) -> None:
        self.cutoff = cutoff
        self.count = 0

    def __call__(self, vectors: Float[np.ndarray, "J 3"], time: float) -> Float[np.ndarray, "J 3"]:
        """The smooth rotations at `time`, axis-angle vectors of at most half a turn."""
        value = Rotation.from_rotvec(np.asarray(vectors, np.float64))
        if self.count == 0:
            self.value = self.latest = value
            self.speed = np.zeros((len(vectors), 3))
        else:
            step = max(time - self.time, _SHORTEST)
            # Both in the axes of the parent, so that speeds of different times can be averaged.
            speed = (value * self.latest.inv()).as_rotvec() / step
            self.speed = self.speed + _speed_share(self.count, step) * (speed - self.speed)
            cutoff = self.cutoff.at(np.linalg.norm(self.speed, axis=-1, keepdims=True))
            share = np.maximum(_share(cutoff, step), 1.0 / (self.count + 1))
            turn = (value * self.value.inv()).as_rotvec()
            self.value = Rotation.from_rotvec(share * turn) * self.value
            self.latest = value
        self.time, self.count = time, self.count + 1
        return self.value.as_rotvec()


def _speed_share(count: int, step: float) -> float:
    """The first speeds are averaged with equal weights, too."""
    return max(_share(_SPEED_CUTOFF, step), 1.0 / count)


class Mean:
    """The mean of the first samples; then it stands still."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.count, self.value = 0, np.zeros(1)

    def __call__(self, value: Float[np.ndarray, "D"]) -> Float[np.ndarray, "D"]:
        """The mean of what was given, `value` included while it counts."""
        value = np.asarray(value, np.float64)
        if self.count < self.samples:
            self.count += 1
            self.value = (
                value if self.count == 1 else self.value + (value - self.value) / self.count
            )
        return self.value
