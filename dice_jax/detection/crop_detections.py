"""What the landmark networks say of a crop: its largest face and its surest right hand."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from dice_jax.detection.people import find_people
from dice_jax.detection.results import DetectedFace, DetectedHand
from dice_jax.geometry.crop import CropBox
from dice_jax.structs import Detections


def detect(picture: UInt8[np.ndarray, "S S 3"]) -> Detections:
    """The largest face of a picture, and the surest right hand; NumPy.

    Args:
        picture: RGB, shows what the crop shows.

    Returns:
        Landmarks in pixels of the crop, with the scores of face and hand as their confidence; zeros
        for what was not found.
    """
    people = find_people(picture)
    face = next((person.face for person in people if person.face is not None), None)
    hands = [hand for person in people for hand in person.hands if hand.right > 0.5]
    hand = max(hands, key=lambda hand: hand.score, default=None)
    return in_crop(face, hand, CropBox(0.0, 0.0, len(picture)))


def in_crop(face: DetectedFace | None, hand: DetectedHand | None, box: CropBox) -> Detections:
    """A face and a hand of a photo as the network is told of them; NumPy.

    Args:
        face, hand: in pixels of the photo; None for what was not found.
        box: the crop in the photo.

    Returns:
        As of `detect`.
    """
    found = Detections.nothing()
    for part, points in ((hand, found.hand_points), (face, found.face_points)):
        if part is not None:
            points[:, :2] = box.to_crop(part.points[:, :2])
            points[:, 2] = part.points[:, 2] / box.scale
            points[:, 3] = part.score
    if hand is not None:
        found.hand_world[:] = hand.world
    return found
