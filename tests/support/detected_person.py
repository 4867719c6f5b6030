"""A known head and hand in a photo, and the detections that perfect detectors make of them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from dice_jax.body_models import assets
from dice_jax.detection.results import DetectedFace, DetectedHand, DetectedPerson
from dice_jax.fitting import detector_points
from dice_jax.geometry.camera import closest_orthography
from dice_jax.person import Hand, Head, Person, PhotoCamera
from dice_jax.structs import Camera
from support.touching_prediction import touching_prediction

SHAPE = (400, 600)  # of the photo
FOCAL_LENGTH = float(np.hypot(*SHAPE))
CAMERA = PhotoCamera(FOCAL_LENGTH, np.array([300.0, 200.0]), np.array([0.03, 0.02, 0.8]))
BOX = np.array([160.0, 40.0, 310.0])
MIRROR = np.array([-1.0, 1.0, 1.0])


@functools.cache
def touching_person() -> Person:
    """The hand and head of `touching_prediction`, seen by `CAMERA` in a photo of `SHAPE`."""
    prediction = touching_prediction()
    numpy = lambda x: np.asarray(x, np.float32)
    head_points, hand_points = (
        numpy(points) for points in (prediction.head_keypoints_3d, prediction.hand_keypoints_3d)
    )
    head = Head(
        params=prediction.head_params,
        vertices=numpy(prediction.head_vertices),
        deformations=numpy(prediction.deformations),
        contact_probs=numpy(prediction.head_contact_probs),
        keypoints_3d=head_points,
        keypoints_2d=CAMERA.project(head_points),
        keypoints_sigma=np.full(68, 1.5),
        score=0.99,
        residual=1.0,
    )
    hand = Hand(
        side="right",
        params=prediction.hand_params,
        vertices=numpy(prediction.hand_vertices),
        contact_probs=numpy(prediction.hand_contact_probs),
        contact_presence=0.97,
        keypoints_3d=hand_points,
        keypoints_2d=CAMERA.project(hand_points),
        keypoints_sigma=np.full(21, 2.5),
        score=0.9,
        residual=2.0,
    )
    points = np.concatenate([head_points, hand_points])
    in_crop = (CAMERA.project(points) - BOX[:2]) * 224 / BOX[2]
    return Person(head, (hand,), CAMERA, BOX, Camera(*closest_orthography(points, in_crop)))


def left_hand(hand: Hand) -> Hand:
    """The mirror image of a right hand, at the other side of the origin."""
    points = hand.keypoints_3d * MIRROR
    return dataclasses.replace(
        hand,
        side="left",
        vertices=hand.vertices * MIRROR,
        keypoints_3d=points,
        keypoints_2d=CAMERA.project(points),
    )


@functools.cache
def detections() -> DetectedPerson:
    """What perfect detectors find of `touching_person`."""
    person = touching_person()
    models = detector_points.prepare(assets.load_hand(), assets.load_head())
    assert person.head is not None
    face = np.asarray(models.face.pose(person.head.params), np.float64)
    _, _, hand = models.hand.pose(person.hands[0].params)
    hand = np.asarray(hand, np.float64)
    pixels_per_meter = CAMERA.focal_length / CAMERA.transl[2]
    pixels = lambda points, zero: np.column_stack(
        [CAMERA.project(points), pixels_per_meter * (points[:, 2] - zero)]
    )
    return DetectedPerson(
        DetectedFace(pixels(face, face[:, 2].mean()), 0.99),
        (DetectedHand(pixels(hand, hand[0, 2]), hand - hand.mean(0), 0.95, 0.98),),
    )


def mirrored(person: DetectedPerson, width: int = SHAPE[1]) -> DetectedPerson:
    """The detections in the mirrored photo. The points of the face swap sides."""
    swap = mirrored_face_points()
    flip = lambda points: np.column_stack([width - points[:, 0], points[:, 1:]])
    face = person.face and dataclasses.replace(person.face, points=flip(person.face.points)[swap])
    hands = tuple(
        dataclasses.replace(
            hand, points=flip(hand.points), world=hand.world * MIRROR, right=1 - hand.right
        )
        for hand in person.hands
    )
    return DetectedPerson(face, hands)


@functools.cache
def mirrored_face_points():
    """The partner of each of the 468 points, by their places on the symmetric template."""
    head = assets.load_head()
    faces_idx, barycentrics = detector_points.face_mesh_points(head)
    corners = np.asarray(head.v_template)[np.asarray(head.faces)[faces_idx]]
    points = (corners * barycentrics[..., None]).sum(1)
    return ((points[:, None] * MIRROR - points[None]) ** 2).sum(-1).argmin(1)


@pytest.fixture(scope="session")
def person() -> Person:
    return touching_person()
