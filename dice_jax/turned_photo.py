"""Photos on their side or upside down: detections and people under quarter turns of the photo.

A quarter turn is that of `numpy.rot90`: counterclockwise. The pinhole's center is the center of the
photo, so a turned photo shows the scene turned about the optical axis.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import CROP_SIZE
from dice_jax.detection.results import DetectedPerson
from dice_jax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from dice_jax.person import Person
from dice_jax.structs import Camera, HeadParams

_QUARTER = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # of camera axes


def turn_detections(person: DetectedPerson, turns: int, shape: tuple[int, int]) -> DetectedPerson:
    """The detections in the photo turned `turns` times; `shape` is that of the photo before."""
    if turns % 4 == 0:
        return person
    rotation = _rotation(turns)

    def moved(points):
        return np.column_stack([turn_pixels(points[:, :2], turns, shape), points[:, 2]])

    face, hands = person.face, person.hands
    return DetectedPerson(
        face and dataclasses.replace(face, points=moved(face.points)),
        tuple(
            dataclasses.replace(h, points=moved(h.points), world=h.world @ rotation.T)
            for h in hands
        ),
    )


def turn_person(
    person: Person,
    turns: int,
    shape: tuple[int, int],
    hand_model: BodyModel,
    head_model: BodyModel,
) -> Person:
    """The person in the photo turned `turns` times.

    Args:
        person: in the photo before.
        turns: any whole number.
        shape: height and width of the photo before, pixels.
        hand_model, head_model: the models of the person's parameters.
    """
    if turns % 4 == 0:
        return person
    rotation = _rotation(turns).astype(np.float32)
    pixels = lambda points: turn_pixels(points, turns, shape)
    common = lambda part: dict(
        vertices=part.vertices @ rotation.T,
        keypoints_3d=part.keypoints_3d @ rotation.T,
        keypoints_2d=pixels(part.keypoints_2d),
    )
    head = person.head and dataclasses.replace(
        person.head,
        params=_turn_params(person.head.params, head_model, rotation),
        deformations=person.head.deformations @ rotation.T,
        **common(person.head),
    )
    hands = []
    for hand in person.hands:
        # The parameters of a left hand pose its mirror image, which turns the other way.
        own = rotation if hand.side == "right" else rotation.T
        params = _turn_params(hand.params, hand_model, own)
        hands.append(dataclasses.replace(hand, params=params, **common(hand)))
    camera = dataclasses.replace(
        person.photo_camera,
        center=pixels(person.photo_camera.center[None])[0],
        transl=rotation @ person.photo_camera.transl,
    )
    left, top, side = person.crop_box
    corners = pixels(np.array([[left, top], [left + side, top + side]]))
    crop_pixels = np.asarray(person.crop_camera.transl)[None]
    crop_transl = turn_pixels(crop_pixels, turns, (CROP_SIZE, CROP_SIZE))[0]
    return Person(
        head,
        tuple(hands),
        camera,
        np.array([*corners.min(0), side]),
        Camera(person.crop_camera.scale, crop_transl.astype(np.float32)),
    )


def turn_pixels(
    points: Float[np.ndarray, "*B 2"], turns: int, shape: tuple[int, int]
) -> Float[np.ndarray, "*B 2"]:
    """Pixels of a photo of `shape` (height, width) in the photo turned `turns` times."""
    height, width = shape
    for _ in range(turns % 4):
        points = np.stack([points[..., 1], width - points[..., 0]], axis=-1)
        height, width = width, height
    return points


def _rotation(turns: int) -> Float[np.ndarray, "3 3"]:
    return np.linalg.matrix_power(_QUARTER, turns % 4)


def _turn_params(params, model: BodyModel, rotation):
    """Parameters that pose the turned mesh; a model rotates about its root joint."""
    coefficients = params.betas
    if isinstance(params, HeadParams):
        coefficients = jnp.concatenate([params.betas, params.expression])
    root = model.J_regressor[0] @ (model.v_template + model.shapedirs @ coefficients)
    orient = matrix_to_axis_angle(rotation @ axis_angle_to_matrix(params.global_orient))
    transl = rotation @ (root + params.transl) - root
    return params.replace(global_orient=np.asarray(orient), transl=np.asarray(transl))
