"""Network and fit as predictors for `measure`: with simulated and with real detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax import inference, models
from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, pose_head
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import pose_hand
from dice_jax.constants import CROP_SIZE, NUM_HAND_KEYPOINTS
from dice_jax.detection import crop_detections
from dice_jax.errors import UserError
from dice_jax.evaluation.measure import Predictor
from dice_jax.fitting import detector_points, fit
from dice_jax.models.heads import INITIAL_SCALE
from dice_jax.models.template import FRONTAL_HEAD, PALM_TO_FACE
from dice_jax.structs import Batch, Camera, Detections, HandParams, HeadParams, Prediction

# Errors of landmark networks on photographs: pixels of the crop and meters; standard deviations.
_HAND_PIXELS, _FACE_PIXELS, _WORLD, _FACE_DEPTH = 1.5, 1.0, 0.006, 0.008
_UNSEEN, _WRONG, _WRONG_PIXELS = 0.1, 0.03, 20.0  # shares of hand keypoints; pixels
_FIRST_INNER = 17  # of the 68 landmarks; the jaw contour is no fixed point of the skin

Detect = Callable[[Batch], Detections]
_BEFORE_THE_FACE = (0.0, 0.12, -0.12)  # meters from the center of the head to the wrist


def seeing(model: inference.Model, detect: Detect) -> Predictor:
    """The network alone, told the landmarks, for `measure.measure_split`.

    Args:
        model: from `load`, whose network sees detections.
        detect: gives the landmarks.
    """
    return lambda batch: inference.infer(model, batch.images, detect(batch), batch.intrinsics)


# What a fit knows besides the landmarks, after the rows of the paper's Table 1.
Guide = Literal["decaf", "pixie", "benchmark"]


def predictor(
    model: inference.Model, detect: Detect, *, guide: Guide = "decaf", rendered: bool = False
) -> Predictor:
    """Network and fit, for `measure.measure_split`; the fit runs on the first device.

    Args:
        model: from `load`.
        detect: gives the landmarks, to the fit and to networks that see them.
        guide: "decaf": start, contacts and deformations of the network, with touch and collision;
            "pixie": the network's start alone; "benchmark": nothing, so that both body models are
            fitted from a neutral pose, and nothing attracts the hand to the head.
        rendered: see `detector_points.prepare`.
    """
    fit_models = detector_points.prepare(model.hand_model, model.head_model, rendered=rendered)

    def predict(batch: Batch):
        found = detect(batch)
        prediction = inference.infer(
            model, batch.images, found, batch.intrinsics, gate_by_presence=False
        )
        if guide != "decaf":
            prediction = without_interaction(prediction)
        if guide == "benchmark":
            prediction = neutral(prediction, model.hand_model, model.head_model)
        # The fit believes what was found.
        seen = found.replace(
            hand_points=_certain(found.hand_points), face_points=_certain(found.face_points)
        )
        refined = fit.refine(fit_models, prediction, seen, batch.intrinsics)
        # As `infer` does, without the gate where nothing touches.
        touches = (refined.contact_presence > 0.5)[:, None]
        deformations = jnp.where(touches[..., None], refined.deformations, 0.0)
        return refined.replace(
            hand_contact_probs=jnp.where(touches, refined.hand_contact_probs, 0.0),
            head_contact_probs=jnp.where(touches, refined.head_contact_probs, 0.0),
            deformations=deformations,
            deformed_head_vertices=refined.head_vertices - deformations,
        )

    return predict


def predictors(
    words: Sequence[str],
    model: inference.Model,
    bodies: tuple[BodyModel, BodyModel],
    *,
    rendered: bool,
) -> dict[str, Predictor]:
    """The rows of --fit by name: networks that see landmarks alone, and with the fit.

    Args:
        words: "keypoints" or "detected", each alone or followed by a colon and a `Guide`.
        model: from `load`.
        bodies: hand and head model of the labels.
        rendered: whether the pictures are renderings of the open models, see
            `detector_points.prepare`.

    Raises:
        UserError: an unknown word.
    """
    sources = {"keypoints": simulated(*bodies), "detected": detected}
    guides: dict[str, Guide] = {guide: guide for guide in get_args(Guide)}
    asked = [(word, *(word.split(":", 1) if ":" in word else (word, "decaf"))) for word in words]
    for word, name, guide in asked:
        if name not in sources or guide not in guides:
            raise UserError(
                f"--fit={word}: it may be {' or '.join(sources)}, "
                f"each alone or followed by :{', :'.join(guides)}"
            )
    rows = {}
    for _, name, guide in asked:
        if getattr(model.module.config, "evidence_hidden", 0):
            rows[f"model_{name}"] = seeing(model, sources[name])
        row = f"model_fit_{name}" + ("" if guide == "decaf" else f"_{guide}")
        on_renderings = rendered and name == "detected"
        rows[row] = predictor(model, sources[name], guide=guides[guide], rendered=on_renderings)
    return rows


def without_interaction(prediction: Prediction) -> Prediction:
    """The prediction without contacts and deformations."""
    zero = lambda name: jnp.zeros_like(getattr(prediction, name))
    return prediction.replace(
        hand_contact_probs=zero("hand_contact_probs"),
        head_contact_probs=zero("head_contact_probs"),
        contact_presence=zero("contact_presence"),
        deformations=zero("deformations"),
        deformed_head_vertices=prediction.head_vertices,
    )


def neutral(prediction: Prediction, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
    """A prediction that knows nothing of the image, in the form of `prediction`.

    A frontal head of mean shape in the middle of the crop, and before it a flat hand of mean shape
    with its palm to the face.
    """
    size = len(prediction.contact_presence)
    rows = lambda values: jnp.broadcast_to(jnp.asarray(values, jnp.float32), (size, len(values)))
    zeros = lambda count: jnp.zeros((size, count))
    hand = HandParams(zeros(10), rows(PALM_TO_FACE), zeros(45), rows(_BEFORE_THE_FACE))
    head = HeadParams(zeros(100), zeros(50), rows(FRONTAL_HEAD), zeros(3), zeros(3), zeros(3))
    posed = pose_head(head_model, head)
    center = head_center(posed.vertices)
    head = head.replace(transl=-center)
    posed_hand = pose_hand(hand_model, hand)
    camera = Camera(jnp.full(size, INITIAL_SCALE), jnp.full((size, 2), CROP_SIZE / 2))
    landmarks = posed.keypoints - center[:, None]
    project = lambda points: INITIAL_SCALE * points[..., :2] + CROP_SIZE / 2
    return prediction.replace(
        hand_keypoints_2d=project(posed_hand.keypoints),
        head_keypoints_2d=project(landmarks),
        hand_vertices=posed_hand.vertices,
        head_vertices=posed.vertices - center[:, None],
        deformed_head_vertices=posed.vertices - center[:, None],
        hand_keypoints_3d=posed_hand.keypoints,
        head_keypoints_3d=landmarks,
        hand_params=hand,
        head_params=head,
        camera=camera,
        hand_depth_sigma=None,
    )


def _certain(points: Float[Array, "B N 4"]) -> Float[Array, "B N 4"]:
    return jnp.concatenate([points[..., :3], jnp.sign(points[..., 3:])], axis=-1)


def simulated(hand_model: BodyModel, head_model: BodyModel, seed: int = 0) -> Detect:
    """The true keypoints under the errors that landmark networks make on photographs.

    Args:
        hand_model, head_model: of the labels.
        seed: of the errors; those of a batch depend on it and on the pixels alone.
    """

    def detect(batch: Batch) -> Detections:
        targets = jax.device_get(models.pose_targets(batch, hand_model, head_model))
        found = [
            _disturb(
                np.asarray(batch.images[i]),
                np.asarray(batch.hand_keypoints_2d[i]),
                np.asarray(batch.head_keypoints_2d[i]),
                targets.hand_keypoints[i],
                targets.head_keypoints[i],
                seed,
            )
            for i in range(len(batch.images))
        ]
        return jax.tree.map(lambda *x: np.stack(x), *found)

    return detect


def _disturb(
    image: UInt8[np.ndarray, "224 224 3"],
    hand_2d: Float[np.ndarray, "21 3"],
    head_2d: Float[np.ndarray, "68 3"],
    hand_3d: Float[np.ndarray, "21 3"],
    head_3d: Float[np.ndarray, "68 3"],
    seed: int,
) -> Detections:
    rng = np.random.default_rng((seed, int(image.sum())))
    detections = Detections.nothing()
    hand = detections.hand_points
    hand[:, :2] = hand_2d[:, :2] + rng.normal(0, _HAND_PIXELS, (NUM_HAND_KEYPOINTS, 2))
    wrong = rng.uniform(size=NUM_HAND_KEYPOINTS) < _WRONG
    hand[wrong, :2] += rng.normal(0, _WRONG_PIXELS, (NUM_HAND_KEYPOINTS, 2))[wrong]
    hand[:, 3] = (hand_2d[:, 2] > 0) & (rng.uniform(size=NUM_HAND_KEYPOINTS) >= _UNSEEN)
    world = hand_3d - hand_3d.mean(0) + rng.normal(0, _WORLD, hand_3d.shape)

    face = detections.face_points
    inner = np.array(FACE_68[_FIRST_INNER:])
    pixels = head_2d[_FIRST_INNER:]
    face[inner, :2] = pixels[:, :2] + rng.normal(0, _FACE_PIXELS, (len(inner), 2))
    scale = _spread(pixels[:, :2]) / _spread(head_3d[_FIRST_INNER:, :2])
    depth = head_3d[_FIRST_INNER:, 2] + rng.normal(0, _FACE_DEPTH, len(inner))
    face[inner, 2] = scale * depth
    face[inner, 3] = pixels[:, 2] > 0
    return detections.replace(hand_world=world.astype(np.float32))


def detected(batch: Batch) -> Detections:
    """What the landmark networks found in the pictures: stored with the samples, or found now."""
    stored = batch.detections
    if any(np.asarray(points)[..., 3].any() for points in (stored.hand_points, stored.face_points)):
        return stored
    found = [crop_detections.detect(np.asarray(image)) for image in batch.images]
    return jax.tree.map(lambda *x: np.stack(x), *found)


def _spread(points: Float[np.ndarray, "N 2"]) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean()))
