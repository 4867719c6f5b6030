"""Sizes of adult hands and heads, to which the shape spaces are scaled.

The values are rounded from the two large surveys of US Army personnel, which agree to a few
millimeters:
  * Greiner (1991), Hand anthropometry of U.S. Army personnel, NATICK/TR-92/011;
  * Gordon et al. (2014), 2012 anthropometric survey of U.S. Army personnel (ANSUR II),
    NATICK/TR-15/007.
They describe a fit, young population: plausible for a synthetic data set, but not representative of
all people. Two independent fingers with a deviation of 2.4 % give the variation of the second to
fourth digit ratio (standard deviation about 0.035, Manning et al. 1998).
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
        """Sizes of people, meters.

        Args:
            maleness: 0 for women, 1 for men, or between.
            deviate: distance from the mean of that group in standard deviations.
        """
        mean = self.female_mean + maleness * (self.male_mean - self.female_mean)
        return mean + deviate * (self.female_std + maleness * (self.male_std - self.female_std))

    @property
    def mixture(self) -> tuple[float, float]:
        """Mean and standard deviation over equal numbers of women and men."""
        mean = (self.female_mean + self.male_mean) / 2
        within = (self.female_std**2 + self.male_std**2) / 2
        between = (self.male_mean - self.female_mean) ** 2 / 4
        return mean, float(np.sqrt(within + between))


HAND_LENGTH = Size(0.180, 0.0097, 0.193, 0.0100)  # wrist to the tip of the middle finger
HAND_BREADTH = Size(0.079, 0.0038, 0.089, 0.0042)  # across the knuckles of index and little finger
HEAD_BREADTH = Size(0.146, 0.0053, 0.153, 0.0055)  # above the ears
HEAD_LENGTH = Size(0.189, 0.0066, 0.198, 0.0071)  # glabella to the back of the head
# Between breadth and length of the head, over women and men together: an assumption.
HEAD_CORRELATION = 0.4

FINGER_RATIO_STD = 0.024  # of one finger's length against the hand's
THUMB_RATIO_STD = 0.030
FINGERS_TO_PALM_STD = 0.025  # of all fingers together: an assumption
FINGER_THICKNESS_STD = 0.060  # of a finger's radius against the hand's size
PALM_RATIO_STD = 0.030  # of the palm's breadth, and of its thickness, against the hand's length


def hand_length(wrist: np.ndarray, middle_joints: np.ndarray, middle_tip: np.ndarray) -> np.ndarray:
    """Length (*B,) of the stretched hand along the middle finger, meters.

    Args:
        wrist: (*B, 3).
        middle_joints: (*B, 3, 3) the three joints of the middle finger.
        middle_tip: (*B, 3).
    """
    chain = np.concatenate([wrist[..., None, :], middle_joints, middle_tip[..., None, :]], -2)
    return np.linalg.norm(np.diff(chain, axis=-2), axis=-1).sum(-1)
