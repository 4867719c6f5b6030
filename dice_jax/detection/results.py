"""What detection finds in a photo: faces, hands, and which of them belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class DetectedFace:
    """The landmarks of a face.

    Attributes:
        points: the 468 points of MediaPipe's face mesh in pixels of the photo. The third column is
            the relative depth in the same pixels, positive away from the camera.
        score: probability that this is a face, in [0, 1].
    """

    points: Float[np.ndarray, "468 3"]
    score: float


@dataclasses.dataclass(frozen=True)
class DetectedHand:
    """The landmarks of a hand.

    Attributes:
        points: pixels of the photo, in OpenPose's order. The third column is the relative depth in
            the same pixels, positive away from the camera, 0 at the wrist.
        world: meters, in the axes of the camera (x right, y down, z away). The origin is
            MediaPipe's, near the middle of the hand.
        score: probability that this is a hand, in [0, 1].
        right: probability that it is the person's right hand, in [0, 1].
    """

    points: Float[np.ndarray, "21 3"]
    world: Float[np.ndarray, "21 3"]
    score: float
    right: float


@dataclasses.dataclass(frozen=True)
class DetectedPerson:
    """A face and the hands that belong to it.

    Attributes:
        face: None if there are only hands.
        hands: at most one right and one left hand, the surest first.
    """

    face: DetectedFace | None
    hands: tuple[DetectedHand, ...]

    @property
    def is_finite(self) -> bool:
        """Whether all points are finite numbers."""
        points = [hand.points for hand in self.hands] + [hand.world for hand in self.hands]
        points += [] if self.face is None else [self.face.points]
        return all(bool(np.isfinite(each).all()) for each in points)
