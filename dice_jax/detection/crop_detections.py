"""What the landmark networks say of a crop: its largest face and its surest right hand."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.detection.people import find_people
from dice_jax.structs import Detections


def detect(picture: UInt8[np.ndarray, "S S 3"]) -> Detections:
    """The largest face of a picture, and the surest right hand; NumPy.

    Args:
        picture: RGB, shows what the crop shows.

    Returns:
        Landmarks in pixels of the crop, with the scores of face and hand as their confidence; zeros
        for what was not found.
    """
    to_crop = CROP_SIZE / len(picture)
    found = Detections.nothing()
    people = find_people(picture)
    face = next((person.face for person in people if person.face is not None), None)
    hands = [hand for person in people for hand in person.hands if hand.right > 0.5]
    if face is not None:
        found.face_points[:, :3] = to_crop * face.points
        found.face_points[:, 3] = face.score
    if hands:
        hand = max(hands, key=lambda hand: hand.score)
        found.hand_points[:, :3] = to_crop * hand.points
        found.hand_points[:, 3] = hand.score
        found.hand_world[:] = hand.world
    return found
