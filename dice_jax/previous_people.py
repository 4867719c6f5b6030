"""The people of the photo before, in a sequence: where to look next, and what moves smoothly."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from dice_jax.detection.results import DetectedFace, DetectedHand, DetectedPerson
from dice_jax.fitting.detector_points import FitModels
from dice_jax.fitting.motion import HandBefore, HeadBefore
from dice_jax.geometry.crop import CropBox
from dice_jax.person import Hand, Person
from dice_jax.structs import Camera

_SAME_PERSON = 0.6  # distance between the middles of two faces, in sizes of the face


def as_detections(models: FitModels, person: Person) -> DetectedPerson:
    """The person as the detectors would have seen it, for `people.find_people(..., previous=)`."""
    face = None
    if person.head is not None:
        points = np.asarray(models.face.pose(person.head.params))
        face = DetectedFace(_in_photo(person, points), person.head.score)
    hands = tuple(
        DetectedHand(
            points=_in_photo(person, np.asarray(hand.keypoints_3d)),
            world=np.asarray(hand.keypoints_3d - hand.keypoints_3d.mean(0), np.float64),
            score=hand.score,
            right=float(hand.side == "right"),
        )
        for hand in person.hands
    )
    return DetectedPerson(face, hands)


def _in_photo(person: Person, points):
    """Pixels of the photo, and depth relative to the first point in the same pixels."""
    camera = person.photo_camera
    depth = (points[:, 2] - points[0, 2]) * camera.focal_length / camera.transl[2]
    return np.column_stack([person.project(points), depth]).astype(np.float64)


def find(previous: Sequence[Person], found: DetectedPerson) -> Person | None:
    """Who of the photo before this is: the person whose face, or whose hand, is nearest.

    Args:
        previous: in the same photo coordinates as `found`.
        found: in this photo.
    """
    points = (found.face or found.hands[0]).points[:, :2]
    size = float(np.ptp(points, axis=0).max())
    best, smallest = None, _SAME_PERSON * size
    for person in previous:
        part = person.head if found.face is not None else next(iter(person.hands), None)
        if part is not None and (found.face is not None) == (person.head is not None):
            gap = np.linalg.norm(np.asarray(part.keypoints_2d).mean(0) - points.mean(0))
            if gap < smallest:
                best, smallest = person, gap
    return best


def head_before(person: Person, box: CropBox) -> HeadBefore | None:
    """The head of the photo before, seen through the crop `box` of this one."""
    if person.head is None:
        return None
    camera = person.photo_camera
    scale = camera.focal_length / camera.transl[2]
    origin = box.to_crop(np.asarray(scale * camera.transl[:2] + camera.center))
    return HeadBefore(
        params=person.head.params,
        camera=Camera(
            jnp.asarray(scale / box.scale, jnp.float32), jnp.asarray(origin, jnp.float32)
        ),
    )


def hand_before(person: Person, side: str) -> HandBefore | None:
    """The hand of that side in the photo before."""
    hand: Hand | None = next((hand for hand in person.hands if hand.side == side), None)
    if hand is None:
        return None
    return HandBefore(jnp.asarray(hand.keypoints_3d), jnp.asarray(hand.params.betas))
