"""The square to crop around a person, and which way up a photo is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.detection import face_mesh, faces, hand_landmarks
from dice_jax.detection.results import DetectedFace, DetectedHand, DetectedPerson
from dice_jax.detection.squares import Pyramid, Square
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox

# Side of the crop over the longer side of head and hand together; 1.1 frames them as in the
# training scenes. A crop without a hand, or without a face, leaves room for one.
_MARGIN, _MARGIN_WITHOUT_HAND, _MARGIN_WITHOUT_FACE = 1.1, 1.4, 1.6
# How far the head, with skull, ears and hair, reaches beyond the face mesh, in sizes of the mesh:
# to the left, upwards, to the right and downwards.
_HEAD = (0.33, 0.5, 0.33, 0.27)
_HAND = 0.12  # how far the hand reaches beyond its points, in sizes of the hand
_MIN_TURN = np.radians(60)  # from which a photo counts as turned


def person_box(person: DetectedPerson, height: int, width: int) -> CropBox:
    """The square around the whole head of a person and the hands.

    Args:
        person: detected in the photo.
        height, width: of the photo, pixels.

    Returns:
        A square in pixels of the photo, moved into the photo as far as possible. It leaves room for
        a hand if none was found, and for the head if only a hand was found.
    """
    boxes = [hand_box(hand) for hand in person.hands]
    if person.face is not None:
        boxes.append(head_box(person.face))
    if not boxes:
        return crop.center_box(height, width)
    margin = _MARGIN if person.hands else _MARGIN_WITHOUT_HAND
    margin = _MARGIN_WITHOUT_FACE if person.face is None else margin
    return crop.move_inside(crop.box_around(np.stack(boxes), margin), height, width)


def head_box(face: DetectedFace) -> Float[np.ndarray, "4"]:
    """Left, top, right, bottom of the whole head, pixels of the photo."""
    axes = Square(np.zeros(2), 1.0, face_mesh.roll(face)).axes()
    level = face.points[:, :2] @ axes
    low, high = level.min(0), level.max(0)
    size = float(max(high - low))
    low, high = low - size * np.array(_HEAD[:2]), high + size * np.array(_HEAD[2:])
    # The box of the ellipse in that rectangle: a turned head does not fill the corners.
    center, half = axes @ (low + high) / 2, np.linalg.norm(axes * (high - low) / 2, axis=1)
    return np.concatenate([center - half, center + half])


def hand_box(hand: DetectedHand) -> Float[np.ndarray, "4"]:
    """Left, top, right, bottom of the whole hand, pixels of the photo."""
    margin = _HAND * hand_landmarks.size(hand)
    points = hand.points[:, :2]
    return np.concatenate([points.min(0) - margin, points.max(0) + margin])


def upright_turns(photo: UInt8[np.ndarray, "H W 3"]) -> int:
    """How often to turn a photo counterclockwise by 90 degrees to make its largest face upright.

    `np.rot90(photo, upright_turns(photo))` is upright. A photo without a face, or whose face leans
    by less than 60 degrees, gives 0.
    """
    return turns_of_face(next(iter(faces.find_all(Pyramid(photo))), None))


def turns_of_face(face: DetectedFace | None) -> int:
    """The quarter turns of `upright_turns` for a photo with this face."""
    if face is None or abs(face_mesh.roll(face)) < _MIN_TURN:
        return 0
    return int(np.round(face_mesh.roll(face) / (np.pi / 2))) % 4
