"""Sizes of adult hands and heads: the targets the shape spaces are scaled to, and how a mesh is
measured.

The targets are rounded from the two large surveys of US Army personnel, which agree to a few
millimeters:
  * Greiner (1991), Hand anthropometry of U.S. Army personnel, NATICK/TR-92/011;
  * Gordon et al. (2014), 2012 anthropometric survey of U.S. Army personnel (ANSUR II),
  NATICK/TR-15/007.
They describe a fit, young population: plausible sizes for a synthetic data set, not a statistic of
mankind. The relative finger lengths vary as the second to fourth digit ratio does (standard
deviation about 0.035, Manning et al. 1998), which two independent fingers of 2.4 % give.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Size:
    """Mean and standard deviation of one measure for women and men, meters."""

    female_mean: float
    female_std: float
    male_mean: float
    male_std: float

    def sample(self, maleness: np.ndarray, deviate: np.ndarray) -> np.ndarray:
        """Sizes of people with `maleness` in [0, 1], `deviate` standard deviations away from their
        group's mean.
        """
        mean = self.female_mean + maleness * (self.male_mean - self.female_mean)
        return mean + deviate * (self.female_std + maleness * (self.male_std - self.female_std))

    @property
    def mixture(self) -> tuple[float, float]:
        """Mean and standard deviation of a population of as many women as men."""
        mean = (self.female_mean + self.male_mean) / 2
        variance = (self.female_std**2 + self.male_std**2) / 2 + (
            self.male_mean - self.female_mean
        ) ** 2 / 4
        return mean, float(np.sqrt(variance))


HAND_LENGTH = Size(0.180, 0.0097, 0.193, 0.0100)  # wrist to the tip of the middle finger
HAND_BREADTH = Size(0.079, 0.0038, 0.089, 0.0042)  # across the knuckles of index and little finger
HEAD_BREADTH = Size(0.146, 0.0053, 0.153, 0.0055)  # above the ears
HEAD_LENGTH = Size(0.189, 0.0066, 0.198, 0.0071)  # glabella to the back of the head
HEAD_CORRELATION = (
    0.4  # of the two over women and men together: an assumption, moderate and positive
)

FINGER_RATIO_STD = 0.024  # of one finger's length against the hand's
THUMB_RATIO_STD = 0.030
FINGERS_TO_PALM_STD = 0.025  # of all fingers together: an assumption
FINGER_THICKNESS_STD = 0.060  # of a finger's radius against the hand's size
PALM_RATIO_STD = 0.030  # of the palm's breadth, and of its thickness, against the hand's length


def hand_length(wrist: np.ndarray, middle_joints: np.ndarray, middle_tip: np.ndarray) -> np.ndarray:
    """Length of the stretched hand: wrist -> three joints (*B, 3, 3) of the middle finger -> its
    tip (*B, 3), meters.
    """
    chain = np.concatenate([wrist[..., None, :], middle_joints, middle_tip[..., None, :]], -2)
    return np.linalg.norm(np.diff(chain, axis=-2), axis=-1).sum(-1)
