"""The same person in another pose, or with another expression; exported as `repose`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dice_jax import inference
from dice_jax.array_types import Array
from dice_jax.body_models import flame, mano
from dice_jax.body_models.lbs import BodyModel
from dice_jax.fitting import detector_points
from dice_jax.person import Hand, Head, Person
from dice_jax.structs import HandParams, HeadParams

Project = Callable[[Array], Array]  # from meters to pixels of the photo

_pose_hand, _pose_head = jax.jit(mano.pose_hand), jax.jit(flame.pose_head)
_OF_HANDS = ("hand_pose",)
_OF_HEAD = ("expression", "neck_pose", "jaw_pose")


def body_models(model: inference.Model, person: Person) -> tuple[BodyModel, BodyModel]:
    """The hand and the head that the parameters of a person pose.

    Args:
        model: from `load`.
        person: of `reconstruct`, with that model.
    """
    if not person.is_fitted:
        return model.hand_model, model.head_model
    prepared = detector_points.prepare(model.hand_model, model.head_model)
    return prepared.hand_model, prepared.head_model


def repose(
    model: inference.Model, person: Person, *, side: str | None = None, **changes: Any
) -> Person:
    """Poses a person again, in their own shape.

    Args:
        model: from `load`.
        person: of `reconstruct`, with that model.
        side: "right" or "left" for that hand alone; None: `hand_pose` goes to every hand.
        **changes: parameters under their smplx names, instead of those of the photo: `hand_pose`
            (45,), and `expression` (50,), `jaw_pose` (3,) and `neck_pose` (3,) of the head;
            rotations as axis-angle, radians. Those of a left hand pose its mirror image.

    Returns:
        The person with new vertices and keypoints, in the same frame and seen by the same camera.
        Parts that change neither touch nor give way any more: contact is what the photo showed.
        Scores, residuals and standard deviations stay those of the photo.

    Raises:
        ValueError: an unknown parameter, one of another shape, or a value that is not finite.
    """
    unknown = sorted(set(changes) - set(_OF_HANDS) - set(_OF_HEAD))
    if unknown:
        known = ", ".join(_OF_HANDS + _OF_HEAD)
        raise ValueError(f"{unknown[0]} cannot be changed; the parameters are {known}")
    if side not in (None, "right", "left"):
        raise ValueError(f'side must be "right" or "left", got {side!r}')
    hand_model, head_model = body_models(model, person)
    of_hands = {name: changes[name] for name in _OF_HANDS if name in changes}
    of_head = {name: changes[name] for name in _OF_HEAD if name in changes}
    hands, head = person.hands, person.head
    if of_hands:
        hands = tuple(
            _hand(hand, hand_model, of_hands, person) if side in (None, hand.side) else hand
            for hand in hands
        )
    if of_head and head is not None:
        head = _head(head, head_model, of_head, person)
    return dataclasses.replace(person, hands=hands, head=head)


def _hand(hand: Hand, model: BodyModel, changes: dict[str, Any], person: Person) -> Hand:
    posed = posed_hand(hand, _changed(hand.params, changes), model, person.project)
    untouched = np.zeros_like(hand.contact_probs)
    return dataclasses.replace(posed, contact_probs=untouched, contact_presence=0.0)


def _head(head: Head, model: BodyModel, changes: dict[str, Any], person: Person) -> Head:
    posed = posed_head(head, _changed(head.params, changes), model, person.project)
    return dataclasses.replace(
        posed,
        deformations=np.zeros_like(head.deformations),
        contact_probs=np.zeros_like(head.contact_probs),
    )


def posed_hand(hand: Hand, params: HandParams, model: BodyModel, project: Project) -> Hand:
    """A hand with other parameters, and the vertices and keypoints that these give.

    Args:
        hand: of a person.
        params: in its own layout; those of a left hand pose its mirror image.
        model: of the hand.
        project: from meters to pixels of the photo.
    """
    posed = jax.device_get(_pose_hand(model, params))
    flip = np.array([-1.0 if hand.side == "left" else 1.0, 1.0, 1.0], np.float32)
    keypoints = posed.keypoints * flip
    return dataclasses.replace(
        hand,
        params=params,
        vertices=posed.vertices * flip,
        keypoints_3d=keypoints,
        keypoints_2d=project(keypoints),
    )


def posed_head(head: Head, params: HeadParams, model: BodyModel, project: Project) -> Head:
    """A head with other parameters; arguments as for `posed_hand`."""
    posed = jax.device_get(_pose_head(model, params))
    return dataclasses.replace(
        head,
        params=params,
        vertices=posed.vertices,
        keypoints_3d=posed.keypoints,
        keypoints_2d=project(posed.keypoints),
    )


def _changed(params, changes: dict[str, Any]):
    """The parameters with other values of the same shapes."""
    new = {}
    for name, value in changes.items():
        before = np.shape(getattr(params, name))
        try:
            array = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be {before[0]} numbers") from None
        if array.shape != before:
            raise ValueError(f"{name} must have the shape {before}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")
        new[name] = array
    return params.replace(**new)
