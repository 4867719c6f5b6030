"""People through a video: who is who, and smooth motion of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dice_jax.body_models.lbs import BodyModel
from dice_jax.person import Hand, Head, Person, PhotoCamera
from dice_jax.reposing import posed_hand, posed_head
from dice_jax.sequences.filters import Cutoff, Mean, RotationFilter, VectorFilter

STRENGTHS = ("off", "light", "strong")
_SHAPE_SAMPLES = 30  # frames that decide about the shape of a person
_SAME_PERSON = 0.6  # distance between two frames, in sizes of the person
_FORGOTTEN = 1.0  # seconds; who was not seen for longer begins anew


@dataclasses.dataclass(frozen=True)
class Cutoffs:
    """The filters of a strength; speeds in radians, meters, or units of the values per second."""

    rotation: Cutoff
    position: Cutoff
    value: Cutoff


CUTOFFS = {
    "light": Cutoffs(Cutoff(2.0, 1.5), Cutoff(2.0, 10.0), Cutoff(2.0, 1.0)),
    "strong": Cutoffs(Cutoff(1.0, 1.5), Cutoff(1.0, 10.0), Cutoff(1.0, 1.0)),
}


class Tracks:
    """Gives people the same number in every frame, and smooths their motion."""

    def __init__(self, strength: str, hand_model: BodyModel, head_model: BodyModel) -> None:
        """`strength` is one of `STRENGTHS`; the body models are those of fitted people."""
        if strength not in STRENGTHS:
            raise ValueError(f"smooth must be one of {', '.join(STRENGTHS)}, got {strength!r}")
        self.strength, self.bodies = strength, (hand_model, head_model)
        self.tracks: list[_Track] = []
        self.numbers = 0

    def reset(self) -> None:
        """Forgets everybody, as at a cut. Numbers go on."""
        self.tracks = []

    def resume(self, number: int, raw: Person, smooth: Person, time: float) -> None:
        """Goes on with somebody of an earlier run.

        Args:
            number: of the person.
            raw, smooth: in the last frame.
            time: of that frame, seconds.
        """
        smoother = self._smoother(raw)
        if smoother is not None:
            smoother(smooth, time)
            smoother.settle()
        self.tracks.append(_Track(number, smoother, raw, time))
        self.numbers = max(self.numbers, number)

    def _smoother(self, person: Person) -> PersonSmoother | None:
        if self.strength == "off" or not person.is_fitted:
            return None
        return PersonSmoother(CUTOFFS[self.strength], *self.bodies)

    def __call__(self, people: Sequence[Person], time: float) -> list[tuple[int, Person]]:
        """The people of the next frame with their numbers, from 1, smoothed.

        Args:
            people: of `reconstruct`.
            time: of the frame, seconds.
        """
        self.tracks = [track for track in self.tracks if time - track.time <= _FORGOTTEN]
        free, result = list(self.tracks), []
        for person in people:
            track = min(free, key=lambda track: track.distance(person), default=None)
            if track is None or track.distance(person) > _SAME_PERSON:
                self.numbers += 1
                track = _Track(self.numbers, self._smoother(person), person, time)
                self.tracks.append(track)
            else:
                free.remove(track)
            result.append((track.number, track.follow(person, time)))
        return result


class _Track:
    def __init__(self, number: int, smoother: PersonSmoother | None, person: Person, time: float):
        self.number, self.smoother = number, smoother
        self.person, self.time = person, time

    def distance(self, person: Person) -> float:
        """From the person in the frame before, in sizes of the person."""
        first, second = _main_points(self.person), _main_points(person)
        if len(first) != len(second):  # a head and a hand
            return np.inf
        size = max(float(np.ptp(second, axis=0).max()), 1.0)
        return float(np.linalg.norm(first.mean(0) - second.mean(0))) / size

    def follow(self, person: Person, time: float) -> Person:
        self.person, self.time = person, time
        return person if self.smoother is None else self.smoother(person, time)


def _main_points(person: Person):
    part = person.head if person.head is not None else person.hands[0]
    return np.asarray(part.keypoints_2d)


class PersonSmoother:
    """Smooths one person: rotations on their manifold, translations, camera; the shape is locked.

    Contact and deformation of each vertex are smoothed, too. A hand that was gone begins anew.
    """

    def __init__(self, cutoffs: Cutoffs, hand_model: BodyModel, head_model: BodyModel) -> None:
        self.cutoffs, self.hand_model, self.head_model = cutoffs, hand_model, head_model
        self.camera = VectorFilter(cutoffs.position)
        self.head: _PartFilters | None = None
        self.hands: dict[str, _PartFilters] = {}

    def __call__(self, person: Person, time: float) -> Person:
        """The smooth person at `time`, seconds."""
        camera = person.photo_camera
        transl = self.camera(np.asarray(camera.transl), time)
        camera = PhotoCamera(camera.focal_length, camera.center, transl)
        sides = {hand.side for hand in person.hands}
        self.hands = {side: filters for side, filters in self.hands.items() if side in sides}
        self.head = None if person.head is None else self.head or _PartFilters(self.cutoffs)
        hands = tuple(self._hand(hand, camera, time) for hand in person.hands)
        head = person.head
        if head is not None and self.head is not None:
            head = self._head(head, self.head, camera, time)
        return dataclasses.replace(person, head=head, hands=hands, photo_camera=camera)

    def settle(self) -> None:
        """Takes the first value for the mean of many, as where an earlier run is continued."""
        parts = [*self.hands.values(), *([] if self.head is None else [self.head])]
        for part in parts:
            part.betas.count = _SHAPE_SAMPLES
            for one in part.filters.values():
                one.count = _SHAPE_SAMPLES
        self.camera.count = _SHAPE_SAMPLES

    def _hand(self, hand: Hand, camera: PhotoCamera, time: float) -> Hand:
        filters = self.hands.setdefault(hand.side, _PartFilters(self.cutoffs))
        names = ("global_orient", "hand_pose")
        params = filters.params(hand.params, names, time)
        posed = posed_hand(hand, params, self.hand_model, camera.project)
        contact_probs = filters.values("contact", hand.contact_probs, time)
        return dataclasses.replace(posed, contact_probs=contact_probs)

    def _head(self, head: Head, filters: _PartFilters, camera: PhotoCamera, time: float) -> Head:
        names = ("global_orient", "neck_pose", "jaw_pose")
        params = filters.params(head.params, names, time)
        posed = posed_head(head, params, self.head_model, camera.project)
        return dataclasses.replace(
            posed,
            contact_probs=filters.values("contact", head.contact_probs, time),
            deformations=filters.values("deformations", head.deformations, time),
        )


class _PartFilters:
    """The filters of a hand or a head."""

    def __init__(self, cutoffs: Cutoffs) -> None:
        self.cutoffs = cutoffs
        self.filters: dict[str, VectorFilter | RotationFilter] = {}
        self.betas = Mean(_SHAPE_SAMPLES)

    def params(self, params, rotations: Sequence[str], time: float):
        """Smooth parameters, with the shape of the first frames."""
        smooth = {"betas": self.betas(np.asarray(params.betas))}
        for name in rotations:
            vectors = np.asarray(getattr(params, name)).reshape(-1, 3)
            filtered = self._filter(name, RotationFilter, self.cutoffs.rotation)(vectors, time)
            smooth[name] = filtered.reshape(-1)
        smooth["transl"] = self._filter("transl", VectorFilter, self.cutoffs.position)(
            np.asarray(params.transl), time
        )
        if hasattr(params, "expression"):
            smooth["expression"] = self.values("expression", params.expression, time)
        arrays = {name: np.asarray(value, np.float32) for name, value in smooth.items()}
        return params.replace(**arrays)

    def values(self, name: str, values, time: float) -> np.ndarray:
        """Smooth values: each number, or each row of three, has its own cutoff."""
        values = np.asarray(values)
        rows = values[:, None] if values.ndim == 1 else values
        filtered = self._filter(name, VectorFilter, self.cutoffs.value)(rows, time)
        return filtered.reshape(values.shape).astype(np.float32)

    def _filter(self, name: str, kind, cutoff: Cutoff):
        return self.filters.setdefault(name, kind(cutoff))
