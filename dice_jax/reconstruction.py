"""From a photo to people: detection, network and fit in one call, exported as `reconstruct`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax import inference, previous_people
from dice_jax.array_types import Array
from dice_jax.detection import framing
from dice_jax.detection.crop_detections import in_crop
from dice_jax.detection.people import find_people
from dice_jax.detection.person_in_box import find_in_box
from dice_jax.detection.results import DetectedHand, DetectedPerson
from dice_jax.fitting import detector_points, fit
from dice_jax.fitting.detector_points import FitModels
from dice_jax.fitting.head_fit import FittedHead
from dice_jax.geometry import crop
from dice_jax.geometry.camera import closest_orthography
from dice_jax.geometry.crop import CropBox
from dice_jax.kept_programs import KeptProgram
from dice_jax.person import Hand, Head, Person, PhotoCamera
from dice_jax.structs import (
    Camera,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    Prediction,
)
from dice_jax.turned_photo import turn_detections, turn_person, turn_pixels

SIDES = ("auto", "right", "left", "both")
CROPS = ("auto", "center", "full")
_WIDEST = 0.2  # focal length over the longer side of the photo: a view of 136 degrees


def reconstruct(
    model: inference.Model,
    photo: UInt8[np.ndarray, "H W 3"],
    *,
    hand: str = "auto",
    fit: bool = True,
    presence_gate: bool = True,
    crop: str = "auto",
    focal_length: float | None = None,
    box: Sequence[float] | None = None,
    people: Sequence[DetectedPerson] | None = None,
    previous: Sequence[Person] = (),
) -> list[Person]:
    """Finds everybody in a photo and reconstructs their heads and hands.

    A photo on its side or upside down is turned first, and the answer turned back.

    Args:
        model: from `load`.
        photo: RGB.
        hand: "auto" for every hand that is found; "right" or "left" for the surest hand of each
            person, taken as that one; "both" where everybody shows two hands: the second one is
            searched longer, and less evidence is enough.
        fit: whether to fit the meshes to the detected landmarks. Without, the network answers
            alone: one hand for each face, whether it is there or not.
        presence_gate: without the fit, see `gate_by_presence` of `infer`.
        crop: what the network sees: "auto" the person; "center" the central square of the photo;
            "full" the whole photo, padded.
        focal_length: of the photo, pixels; its diagonal by default, the view of a 43 mm lens on
            full frame.
        box: left, top, width and height of a rectangle around head and hands, pixels of the photo:
            only the person in it is reconstructed, and the network sees the square around it
            instead of `crop`. Without the fit, the network answers even if nobody is found there.
        people: what `detection.people.find_people` found in the photo; None: it is called.
        previous: the answer for the photo before, in a sequence. Faces and hands are searched where
            they were, and the fit lets them move smoothly. People who come into view later are
            found by a call without it.

    Returns:
        A person for each face, the largest first, then a person for each hand that belongs to no
        face. An empty list where nobody was found.

    Raises:
        ValueError: an unknown `hand` or `crop`, "both" hands without the fit, a box without an area
            or whose middle is not in the photo, a photo of another shape or type, people without
            face and hands or with points that are not finite, or a focal length that is not finite
            or below a fifth of the photo's longer side, as one in millimeters is.
    """
    check_photo(photo)
    for name, value, known in (("hand", hand, SIDES), ("crop", crop, CROPS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if hand == "both" and not fit:
        raise ValueError("both hands need the fit: the network alone answers for one hand")
    if focal_length is not None and not _WIDEST * max(photo.shape) <= focal_length < np.inf:
        raise ValueError(
            f"focal_length {focal_length} is no focal length in pixels for a photo of "
            f"{photo.shape[1]} x {photo.shape[0]}: that of a phone's main camera is about "
            f"{0.75 * max(photo.shape):.0f}"
        )
    corners = None if box is None else _corners(box, photo, crop)
    # Takes seconds the first time, so only where something is fitted or was.
    prepared = functools.partial(detector_points.prepare, model.hand_model, model.head_model)
    if people is None:
        before = [previous_people.as_detections(prepared(), person) for person in previous]
        people = detect(photo, hand, box, before)
    people = list(people)
    check_people(people)
    if corners is not None and not people and not fit:
        people = [DetectedPerson(None, ())]
    turns = framing.turns_of_face(people[0].face) if people else 0
    shape = photo.shape[:2]
    upright = np.ascontiguousarray(np.rot90(photo, turns))
    if fit and previous:
        bodies = prepared().hand_model, prepared().head_model
        previous = [turn_person(person, turns, shape, *bodies) for person in previous]
    result = []
    for found in people:
        seen = _choose_hands(turn_detections(found, turns, shape), hand)
        square = _crop_box(seen, crop, corners, turns, shape)
        view = _view(upright, square, focal_length)
        if fit:
            models = prepared()
            bodies = models.hand_model, models.head_model
            person = _fitted(model, models, view, seen, previous_people.find(previous, seen))
        else:
            bodies = model.hand_model, model.head_model
            side_of_all = "left" if hand == "left" else "right"
            person = _network_alone(model, view, seen, side_of_all, presence_gate)
        result.append(turn_person(person, -turns, upright.shape[:2], *bodies))
    return result


def detect(
    photo: UInt8[np.ndarray, "H W 3"],
    hand: str = "auto",
    box: Sequence[float] | None = None,
    previous: Sequence[DetectedPerson] = (),
) -> list[DetectedPerson]:
    """What `reconstruct` detects; its arguments, and detections of the photo before."""
    both = hand == "both"
    if box is None:
        return find_people(photo, previous, both)
    found = find_in_box(photo, _corners(box, photo, "auto"), previous, both)
    return [] if found is None else [found]


def check_photo(photo: np.ndarray) -> None:
    """Raises a ValueError unless `photo` is an RGB image."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ValueError(
            f"a photo must be (height, width, 3) RGB of type uint8, got {photo.shape} {photo.dtype}"
        )


def check_people(people: Sequence[DetectedPerson]) -> None:
    """Raises a ValueError if there is nothing of a person, or a point that is not finite."""
    for i, person in enumerate(people):
        if person.face is None and not person.hands:
            raise ValueError(f"people[{i}] has neither a face nor a hand; leave it out")
        if not person.is_finite:
            raise ValueError(f"people[{i}] has points that are not finite; leave that part out")


@dataclasses.dataclass(frozen=True)
class View:
    """What the network sees of a person, and through which camera.

    Attributes:
        pixels: the crop.
        box: its square in the photo.
        focal_length, center: of the photo's pinhole, pixels of the photo.
        known: whether the focal length is known, and not a guess.
    """

    pixels: UInt8[np.ndarray, "224 224 3"]
    box: CropBox
    focal_length: float
    center: Float[np.ndarray, "2"]
    known: bool

    @property
    def intrinsics(self) -> Intrinsics:
        """The pinhole in pixels of the crop."""
        focal_length = self.focal_length / self.box.scale
        return Intrinsics(
            np.asarray(focal_length, np.float32), self.box.to_crop(self.center).astype(np.float32)
        )

    @property
    def evidence(self) -> Intrinsics:
        """The pinhole as the network is told of it."""
        return self.intrinsics if self.known else Intrinsics.unknown()

    def photo_camera(self, camera: Camera) -> PhotoCamera:
        """The pinhole of the photo that agrees with a crop's camera in the plane z = 0."""
        scale = float(camera.scale) * self.box.scale  # pixels of the photo per meter
        xy = (self.box.to_photo(np.asarray(camera.transl)) - self.center) / scale
        return PhotoCamera(
            self.focal_length, self.center, np.array([*xy, self.focal_length / scale])
        )


def _corners(box: Sequence[float], photo, mode: str) -> Float[np.ndarray, "4"]:
    """Left, top, right, bottom of the user's rectangle."""
    height, width = photo.shape[:2]
    values = np.asarray(box, np.float64)
    if mode != "auto":
        raise ValueError(f"the box says what the network sees: crop must be auto, got {mode!r}")
    if values.shape != (4,) or not np.isfinite(values).all() or not (values[2:] >= 1).all():
        raise ValueError(f"box must be left, top, width and height in pixels, got {list(box)}")
    middle = values[:2] + values[2:] / 2
    if not ((middle >= 0).all() and (middle <= [width, height]).all()):
        raise ValueError(
            f"the middle of the box {middle[0]:g}, {middle[1]:g} is not in the photo of "
            f"{width} x {height} pixels"
        )
    return np.concatenate([values[:2], values[:2] + values[2:]])


def _crop_box(person: DetectedPerson, mode: str, corners, turns: int, shape) -> CropBox:
    """What the network sees of the photo after `turns`; `corners` and `shape` are of before."""
    height, width = shape if turns % 2 == 0 else shape[::-1]
    if corners is not None:
        points = turn_pixels(corners.reshape(2, 2), turns, shape)
        rectangle = np.concatenate([points.min(axis=0), points.max(axis=0)])
        return crop.move_inside(crop.box_around(rectangle[None]), height, width)
    if mode == "auto":
        return framing.person_box(person, height, width)
    return (crop.center_box if mode == "center" else crop.full_box)(height, width)


def _view(photo, box: CropBox, focal_length: float | None) -> View:
    height, width = photo.shape[:2]
    known = focal_length is not None
    focal_length = focal_length if known else float(np.hypot(height, width))
    center = np.array([width / 2, height / 2])
    return View(crop.cut(photo, box), box, focal_length, center, known)


def _choose_hands(person: DetectedPerson, hand: str) -> DetectedPerson:
    """The surest hand, taken as a right or a left one, unless every hand is asked for."""
    if hand in ("auto", "both"):
        return person
    surest = person.hands[:1]
    right = 1.0 if hand == "right" else 0.0
    return dataclasses.replace(
        person, hands=tuple(dataclasses.replace(one, right=right) for one in surest)
    )


def side(hand: DetectedHand) -> str:
    """ "right" or "left"."""
    return "right" if hand.right > 0.5 else "left"


def _network_alone(
    model: inference.Model, view: View, person: DetectedPerson, otherwise: str, gate: bool
) -> Person:
    """The network's answer; for the side `otherwise` where no hand was found."""
    which, detections = otherwise, None
    if person.hands:
        which = side(person.hands[0])
        detections = in_crop(person.face, person.hands[0], view.box)
    inputs = view.pixels, detections, view.evidence
    prediction = inference.infer(model, *inputs, hand=which, gate_by_presence=gate)
    if which == "left":
        models = detector_points.prepare(model.hand_model, model.head_model)
        prediction = fit.own_head(models, prediction)
    return from_prediction(jax.device_get(prediction), view, which)


def from_prediction(prediction: Prediction, view: View, hand: str) -> Person:
    """The network's answer for one crop, as a person.

    Args:
        prediction: of `infer`, for one image; for a left hand, of `fit.own_head`.
        view: the crop.
        hand: the side that `infer` was called with.
    """
    to_photo = lambda points: view.box.to_photo(np.asarray(points))
    head = Head(
        params=prediction.head_params,
        vertices=prediction.head_vertices,
        deformations=prediction.deformations,
        contact_probs=prediction.head_contact_probs,
        keypoints_3d=prediction.head_keypoints_3d,
        keypoints_2d=to_photo(prediction.head_keypoints_2d),
        keypoints_sigma=_sigma(prediction.head_keypoints_sigma, view, 68),
        score=float("nan"),
        residual=float("nan"),
    )
    one_hand = Hand(
        side=hand,
        params=prediction.hand_params,
        vertices=prediction.hand_vertices,
        contact_probs=prediction.hand_contact_probs,
        contact_presence=float(prediction.contact_presence),
        keypoints_3d=prediction.hand_keypoints_3d,
        keypoints_2d=to_photo(prediction.hand_keypoints_2d),
        keypoints_sigma=_sigma(prediction.hand_keypoints_sigma, view, 21),
        score=1.0 if prediction.hand_presence is None else float(prediction.hand_presence),
        residual=float("nan"),
    )
    present = (one_hand,) if one_hand.score > 0.5 else ()
    box = np.array([view.box.left, view.box.top, view.box.size])
    return Person(head, present, view.photo_camera(prediction.camera), box, prediction.camera)


def _sigma(pixels_of_crop, view: View, count: int) -> Float[np.ndarray, "{count}"]:
    """Pixels of the photo; infinite where the network does not tell."""
    if pixels_of_crop is None:
        return np.full(count, np.inf, np.float32)
    return np.asarray(pixels_of_crop) * view.box.scale


def _fitted(
    model: inference.Model,
    models: FitModels,
    view: View,
    person: DetectedPerson,
    previous: Person | None,
) -> Person:
    """Network and fit. Every stage is compiled for a batch of one."""
    sides = [side(hand) for hand in person.hands]
    predictions = {
        which: _infer(model, view, in_crop(person.face, hand, view.box), which)
        for which, hand in (zip(sides, person.hands) if sides else [("right", None)])
    }
    first = next(iter(predictions))
    guess = fit.head_guess(models, predictions[first], first)
    if person.face is None:
        posed = fit.unseen_head(models, guess, _hand_camera(person.hands[0], view.box))
    else:
        posed = _fit_heads(
            models,
            _batched(guess),
            _seen(in_crop(person.face, None, view.box).face_points)[None],
            _batched(view.intrinsics),
            _batched(previous and previous_people.head_before(previous, view.box)),
        )
    hands = []
    for which, detected in zip(sides, person.hands):
        evidence = in_crop(person.face, detected, view.box)
        problem = fit.HandProblem(
            head=posed,
            has_head=jnp.array([person.face is not None]),
            prediction=_batched(predictions[which]),
            points=_seen(evidence.hand_points)[None],
            world=evidence.hand_world[None],
            touches=jnp.asarray(predictions[which].contact_presence)[None],
            intrinsics=_batched(view.intrinsics),
            known_camera=jnp.array([view.known]),
            left=jnp.array([which == "left"]),
            before=_batched(previous and previous_people.hand_before(previous, which)),
        )
        hands.append(_first(_fit_hands(models, problem)))
    return _assemble(person, _first(posed), hands, view)


def _infer(model: inference.Model, view: View, detections: Detections, which: str) -> Prediction:
    """`infer(..., hand=which, gate_by_presence=False)`, compiled once for both hands."""
    inputs = view.pixels, detections, view.evidence
    if which == "right":
        return inference.infer(model, *inputs, gate_by_presence=False)
    return _mirror(inference.infer(model, *_mirror_inputs(*inputs), gate_by_presence=False))


_fit_heads = KeptProgram(fit.fit_heads, (fit.PosedHead, FittedHead, HeadParams, Camera))
_fit_hands = KeptProgram(fit.fit_hands, (fit.PosedHands, HandParams))
_mirror, _mirror_inputs = jax.jit(inference.mirror), jax.jit(inference.mirror_inputs)


def _batched(tree):
    return jax.tree.map(lambda x: jnp.asarray(x)[None], tree)


def _first(tree):
    return jax.tree.map(lambda x: x[0], jax.device_get(tree))


def _seen(points: Float[Array, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """The points as the fit takes them: what is believed to be there counts fully."""
    points = np.asarray(points)
    return np.concatenate([points[:, :3], np.sign(points[:, 3:])], axis=-1)


def _hand_camera(hand: DetectedHand, box: CropBox) -> Camera:
    """The camera in which the detector's metric hand has its size in the image."""
    spread = lambda x: np.sqrt(((x - x.mean(0)) ** 2).sum(-1).mean())
    pixels = box.to_crop(hand.points[:, :2])
    scale = spread(pixels) / max(spread(hand.world[:, :2]), 1e-3)
    return Camera(np.asarray(scale, np.float32), pixels.mean(0).astype(np.float32))


def _assemble(
    person: DetectedPerson, posed: fit.PosedHead, hands: Sequence[fit.PosedHands], view: View
) -> Person:
    """Puts the fitted parts together; the skin gives way to both hands."""
    camera = view.photo_camera(posed.fitted.camera)
    zoom = view.box.scale
    head = None
    if person.face is not None:
        deformations = np.zeros_like(posed.vertices)
        contact = np.zeros(len(posed.vertices), np.float32)
        for hand in hands:
            deeper = (hand.deformations**2).sum(-1) > (deformations**2).sum(-1)
            deformations = np.where(deeper[:, None], hand.deformations, deformations)
            contact = np.maximum(contact, hand.head_contact_probs)
        head = Head(
            params=posed.fitted.params,
            vertices=posed.vertices,
            deformations=deformations,
            contact_probs=contact,
            keypoints_3d=posed.landmarks,
            keypoints_2d=camera.project(posed.landmarks),
            keypoints_sigma=posed.fitted.sigma * zoom,
            score=person.face.score,
            residual=float(posed.fitted.residual) * zoom,
        )
    posed_hands = tuple(
        Hand(
            side=side(detected),
            params=hand.params,
            vertices=hand.vertices,
            contact_probs=hand.hand_contact_probs,
            contact_presence=float(hand.contact_presence),
            keypoints_3d=hand.keypoints,
            keypoints_2d=camera.project(hand.keypoints),
            keypoints_sigma=hand.sigma * zoom,
            score=detected.score,
            residual=float(hand.residual) * zoom,
        )
        for detected, hand in zip(person.hands, hands)
    )
    parts = [part for part in (head, *posed_hands) if part is not None]
    points = np.concatenate([np.asarray(part.keypoints_3d) for part in parts])
    pixels = np.concatenate([np.asarray(part.keypoints_2d) for part in parts])
    pixels = view.box.to_crop(pixels)
    box = np.array([view.box.left, view.box.top, view.box.size])
    return Person(head, posed_hands, camera, box, Camera(*closest_orthography(points, pixels)))
