"""Kinds of scene: whose hands are in the picture, and whether they touch the face.

The right hand is the one that the labels describe. A left hand beside it, or alone, is only drawn:
a network must not take it for a right one. Whoever needs left hands mirrors samples.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

import numpy as np


class Kind(enum.StrEnum):
    """What the scene shows.

    Attributes:
        TOUCH: the right hand touches the face.
        NEAR: it is held in front of the face, 1 to 15 cm away.
        FAR: it is in view, but away from the head.
        BESIDE: it is beside or behind the head.
        OTHER_PERSON: the hand of somebody else touches the face or is held before it.
        LEFT_ONLY: only the left hand is there, at the face or away from it.
        NO_HAND: no hand is there.
    """

    TOUCH = "touch"
    NEAR = "near"
    FAR = "far"
    BESIDE = "beside"
    OTHER_PERSON = "other_person"
    LEFT_ONLY = "left_only"
    NO_HAND = "no_hand"


class Placement(enum.Enum):
    """How a single hand is placed; see `Kind`."""

    TOUCH = "touch"
    NEAR = "near"
    FAR = "far"
    BESIDE = "beside"


@dataclasses.dataclass(frozen=True)
class Frequencies:
    """Probabilities of all kinds, the only place where they are stated.

    Most pictures that the network is shown have a hand at the face, because detectors chose them.
    The others teach what the pictures without a touch look like.

    Attributes:
        kinds: of each kind of scene.
        second_hand: that a left hand is there too, where the right one touches or is near.
        left_hand: placements of a left hand.
        other_person_touches: that the hand of another person touches.
    """

    kinds: Mapping[Kind, float] = dataclasses.field(
        default_factory=lambda: {
            Kind.TOUCH: 0.56,
            Kind.NEAR: 0.12,
            Kind.FAR: 0.06,
            Kind.BESIDE: 0.05,
            Kind.OTHER_PERSON: 0.03,
            Kind.LEFT_ONLY: 0.07,
            Kind.NO_HAND: 0.11,
        }
    )
    second_hand: float = 0.18
    left_hand: Mapping[Placement, float] = dataclasses.field(
        default_factory=lambda: {
            Placement.TOUCH: 0.45,
            Placement.NEAR: 0.2,
            Placement.FAR: 0.2,
            Placement.BESIDE: 0.15,
        }
    )
    other_person_touches: float = 0.6


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a scene is to show.

    Attributes:
        kind: of the scene.
        right: how the right hand is placed; None: there is none.
        left: the same for the left hand.
    """

    kind: Kind
    right: Placement | None
    left: Placement | None


def sample_plan(rng: np.random.Generator, frequencies: Frequencies | None = None) -> Plan:
    """Draws a kind of scene and the placement of its hands."""
    frequencies = frequencies or Frequencies()
    kind = _choose(frequencies.kinds, rng)
    left = _choose(frequencies.left_hand, rng)
    has_second = rng.uniform() < frequencies.second_hand
    other_touches = rng.uniform() < frequencies.other_person_touches
    if kind is Kind.NO_HAND:
        return Plan(kind, None, None)
    if kind is Kind.LEFT_ONLY:
        return Plan(kind, None, left)
    if kind is Kind.OTHER_PERSON:
        return Plan(kind, Placement.TOUCH if other_touches else Placement.NEAR, None)
    accompanied = has_second and kind in (Kind.TOUCH, Kind.NEAR)
    return Plan(kind, Placement(kind.value), left if accompanied else None)


def _choose(probabilities, rng):
    """A key of a dict of probabilities."""
    names = list(probabilities)
    weights = np.array([probabilities[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
