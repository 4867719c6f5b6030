"""Fits predictions of the network to detected landmarks: head and camera first, then the hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, pose_head
from dice_jax.body_models.hierarchy import downsample_labels
from dice_jax.body_models.mano import pose_hand
from dice_jax.constants import CROP_SIZE, NUM_HEAD_KEYPOINTS
from dice_jax.fitting import contact
from dice_jax.fitting.detector_points import FitModels
from dice_jax.fitting.hand_evidence import HandEvidence, HeadSurface
from dice_jax.fitting.hand_fit import fit_hand
from dice_jax.fitting.head_fit import FittedHead, fit_head
from dice_jax.fitting.motion import HandBefore, HeadBefore
from dice_jax.geometry.camera import project_scaled_perspective
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.structs import (
    Camera,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    Prediction,
)

# A hand this near touches; the probability falls from 0.73 to 0.27 over twice the softness, meters.
_TOUCHING_SOFTNESS = 0.002
_TYPICAL_DISTANCE = 0.9  # meters from the camera to the head
# Standard deviation of the network's depth of a hand that touches nothing, meters: where the
# network does not tell, and the least and greatest that it is believed to be.
_TYPICAL_DEPTH_ERROR, _DEPTH_ERRORS = 0.08, (0.01, 0.2)
_HELD_DEPTH = 0.004  # the same where nothing in the image corrects the depth


class HeadGuess(struct.PyTreeNode):
    """What the network says of a head, in the frame of the head that is fitted.

    Attributes:
        params: of the head.
        camera: of the crop.
    """

    params: HeadParams
    camera: Camera


class PosedHead(struct.PyTreeNode):
    """A fitted head with its mesh.

    Attributes:
        fitted: parameters and camera.
        vertices: head-centered, meters, not deformed.
        landmarks: the 68 landmarks, meters.
    """

    fitted: FittedHead
    vertices: Float[Array, "*B 5023 3"]
    landmarks: Float[Array, "*B 68 3"]


@jax.jit
def fit_heads(
    models: FitModels,
    guess: HeadGuess,
    face_points: Float[Array, "B 468 4"],
    intrinsics: Intrinsics,
    before: HeadBefore | None = None,
) -> PosedHead:
    """Fits a batch of heads to their face points, see `head_fit.fit_head`."""
    fit = lambda points, guess, own, before: fit_head(
        models.face, _known(points), guess.params, guess.camera, own, before
    )
    fitted = _over_batch(lambda args: fit(*args), (face_points, guess, intrinsics, before))
    head = pose_head(models.head_model, fitted.params)
    center = head_center(head.vertices)
    # `transl` of the network's head has no meaning here: the centroid is the origin.
    transl = fitted.params.transl - center
    fitted = fitted.replace(params=fitted.params.replace(transl=transl))
    return PosedHead(fitted, head.vertices - center[:, None], head.keypoints - center[:, None])


def _known(points: Float[Array, "*B N 4"]) -> Float[Array, "*B N 4"]:
    """The points with confidence 0 where anything about them is no number."""
    known = jnp.isfinite(points).all(-1, keepdims=True)
    return jnp.where(known, points, 0.0)


def head_guess(models: FitModels, prediction: Prediction, hand: str) -> HeadGuess:
    """The head of the network's answer for one crop.

    Args:
        models: the body models.
        prediction: of `infer`.
        hand: the side that `infer` was called with. With "left" the parameters pose the mirror
            image; the guess is the head itself.
    """
    params = prediction.head_params
    if hand == "left":
        params = _mirrored_params(models, params)
    return HeadGuess(params, prediction.camera)


def own_head(models: FitModels, prediction: Prediction) -> Prediction:
    """The answer of `infer(..., hand="left")` for one crop with a head of the person's own.

    `infer` mirrors the vertices in their order. Here vertex i is again vertex i of the head model,
    and the parameters pose the head itself. Exact for a symmetric head model, as the open one is.
    """
    ids = models.mirror_ids
    return prediction.replace(
        head_params=_mirrored_params(models, prediction.head_params),
        head_vertices=prediction.head_vertices[ids],
        deformations=prediction.deformations[ids],
        deformed_head_vertices=prediction.deformed_head_vertices[ids],
        head_contact_probs=prediction.head_contact_probs[ids],
    )


def _mirrored_params(models: FitModels, params: HeadParams) -> HeadParams:
    """The parameters of the mirror image of a head."""
    flip = jnp.array([1.0, -1.0, -1.0])
    return params.replace(
        betas=params.betas @ models.mirror_betas,
        expression=params.expression @ models.mirror_expression,
        global_orient=params.global_orient * flip,
        neck_pose=params.neck_pose * flip,
        jaw_pose=params.jaw_pose * flip,
        transl=params.transl * jnp.array([-1.0, 1.0, 1.0]),
    )


def unseen_head(models: FitModels, guess: HeadGuess, camera: Camera) -> PosedHead:
    """A batch of one head that is not in the picture, but gives the hand a camera."""
    zero = jnp.zeros(())
    sigma = jnp.full(NUM_HEAD_KEYPOINTS, jnp.inf)
    fitted = FittedHead(guess.params, camera, zero, zero, zero, sigma)
    head = PosedHead(fitted, models.head_model.v_template, jnp.zeros((NUM_HEAD_KEYPOINTS, 3)))
    return jax.tree.map(lambda x: jnp.asarray(x)[None], head)


class HandProblem(struct.PyTreeNode):
    """What hands are fitted to, all in the frame of the person.

    Attributes:
        head: the fitted head of each hand's person; any numbers where `has_head` is False.
        has_head: whether the person has a head.
        prediction: of the network for this side of hand, see `inference.infer`.
        points, world: see `Detections`.
        touches: probability that hand and head touch.
        intrinsics: of the crop.
        known_camera: whether the intrinsics are known, and not a guess. Then the sizes of head and
            hand in the image tell how far they are apart in depth.
        left: whether it is a left hand.
        before: the hands of the photo before, in a sequence.
    """

    head: PosedHead
    has_head: Bool[Array, "*B"]
    prediction: Prediction
    points: Float[Array, "*B 21 4"]
    world: Float[Array, "*B 21 3"]
    touches: Float[Array, "*B"]
    intrinsics: Intrinsics
    known_camera: Bool[Array, "*B"]
    left: Bool[Array, "*B"]
    before: HandBefore | None = None


class PosedHands(struct.PyTreeNode):
    """Fitted hands with their meshes, contact and what they do to the head.

    Attributes:
        params: of the hand model; for a left hand they pose the mirror image.
        vertices, keypoints: meters, in the frame of the person.
        residual, sigma: see `FittedHand`.
        accepted: see `FittedHand`.
        contact_presence: probability that hand and head touch.
        hand_contact_probs, head_contact_probs: of each vertex.
        deformations: of the head, meters.
    """

    params: HandParams
    vertices: Float[Array, "*B 778 3"]
    keypoints: Float[Array, "*B 21 3"]
    residual: Float[Array, "*B"]
    sigma: Float[Array, "*B 21"]
    accepted: Bool[Array, "*B"]
    contact_presence: Float[Array, "*B"]
    hand_contact_probs: Float[Array, "*B 778"]
    head_contact_probs: Float[Array, "*B 5023"]
    deformations: Float[Array, "*B 5023 3"]


@jax.jit
def fit_hands(models: FitModels, problem: HandProblem) -> PosedHands:
    """Fits a batch of hands in front of heads that are fitted already."""
    return _over_batch(lambda one: _fit_hand(models, one), problem)


def _over_batch(function, arguments):
    """Applies a function to every sample of a batch.

    One after the other on a CPU, whose caches hold one sample and which gains nothing from batched
    factorizations; all at once on an accelerator.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(function, arguments)
    return jax.vmap(function)(arguments)


def _fit_hand(models: FitModels, problem: HandProblem) -> PosedHands:
    # A left hand is fitted as a right one in the mirror image of the photo.
    flip = jnp.where(problem.left, jnp.array([-1.0, 1.0, 1.0]), 1.0)
    flip_x = lambda x: jnp.where(problem.left, CROP_SIZE - x, x)
    flip_pixels = lambda pixels: jnp.stack([flip_x(pixels[..., 0]), pixels[..., 1]], -1)
    head_vertices = problem.head.vertices * flip[None]
    surface = _head_surface(models, problem, head_vertices, flip)
    camera, intrinsics = problem.head.fitted.camera, problem.intrinsics
    prediction = problem.prediction
    points = _known(problem.points)
    pixels = flip_pixels(points[:, :2])
    world = jnp.where(jnp.isfinite(problem.world).all(), problem.world, 0.0)
    evidence = HandEvidence(
        points=jnp.concatenate([pixels, points[:, 2:]], axis=-1),
        world=world * flip[None],
        network=prediction.hand_params,
        trust=problem.has_head.astype(jnp.float32),  # all scenes of the training have a head
        depth=jnp.where(problem.has_head, prediction.hand_keypoints_3d[:, 2].mean(), 0.0),
        depth_sigma=jnp.where(problem.known_camera, _depth_sigma(prediction), _HELD_DEPTH),
        contact=downsample_labels(models.hand_model.hierarchy, prediction.hand_contact_probs, 1),
        touches=problem.touches * problem.has_head,
        camera=camera.replace(transl=flip_pixels(camera.transl)),
        intrinsics=intrinsics.replace(camera_center=flip_pixels(intrinsics.camera_center)),
        before=problem.before
        and problem.before.replace(keypoints=problem.before.keypoints * flip[None]),
    )
    fitted = fit_hand(models.hand, surface, evidence)
    hand = pose_hand(models.hand_model, fitted.params)
    skin = contact.skin_contact(
        hand.vertices, head_vertices, models.hand_model, models.head_model, evidence.touches
    )
    near = jax.nn.sigmoid((contact.TOUCHING - skin.gap) / _TOUCHING_SOFTNESS)
    return PosedHands(
        params=fitted.params,
        vertices=hand.vertices * flip[None],
        keypoints=hand.keypoints * flip[None],
        residual=fitted.residual,
        sigma=fitted.sigma,
        accepted=fitted.accepted,
        contact_presence=evidence.touches * near,
        hand_contact_probs=skin.hand_probs,
        head_contact_probs=skin.head_probs,
        deformations=skin.deformations * flip[None],
    )


def _depth_sigma(prediction: Prediction) -> Float[Array, "*B"]:
    """Standard deviation of the depth of a hand that touches nothing, meters."""
    if prediction.hand_depth_sigma is None:
        return jnp.full_like(prediction.contact_presence, _TYPICAL_DEPTH_ERROR)
    # That of a Laplace distribution is this many times its scale.
    return jnp.clip(jnp.sqrt(2.0) * prediction.hand_depth_sigma, *_DEPTH_ERRORS)


def _head_surface(models, problem, head_vertices, flip) -> HeadSurface:
    prediction = problem.prediction
    normals = vertex_normals(head_vertices, models.head_model.faces) * flip[0]
    # For a left hand the network saw the mirror image of the head.
    on_this_head = lambda values: jnp.where(problem.left, values[models.mirror_ids], values)
    give = jnp.linalg.norm(prediction.deformations, axis=-1)
    return HeadSurface(
        vertices=head_vertices,
        normals=normals,
        outside=~models.head_model.cavity & problem.has_head,
        give=on_this_head(give),
        contact=on_this_head(prediction.head_contact_probs),
    )


@jax.jit
def refine(
    models: FitModels,
    prediction: Prediction,
    detections: Detections,
    intrinsics: Intrinsics | None = None,
) -> Prediction:
    """Fits a batch of predictions, of right hands, to what was detected in their crops.

    A part without any detected point stays as the network predicts it. Presence, contact and
    deformation of a fitted hand are those of the fitted meshes.

    Args:
        models: from `detector_points.prepare`.
        prediction: of `infer` with `gate_by_presence=False`, with one leading dimension.
        detections: landmarks in the crops.
        intrinsics: of the crops; None, or an infinite focal length: a camera 0.9 m from the head,
            in front of the crop.
    """
    center = jnp.full_like(prediction.camera.transl, CROP_SIZE / 2)
    typical = Intrinsics(_TYPICAL_DISTANCE * prediction.camera.scale, center)
    if intrinsics is None:
        intrinsics = typical.replace(focal_length=jnp.full_like(typical.focal_length, jnp.inf))
    known = jnp.isfinite(intrinsics.focal_length)
    chosen = _choose(known, intrinsics, typical)
    guess = HeadGuess(prediction.head_params, prediction.camera)
    head = fit_heads(models, guess, detections.face_points, chosen)
    has_face = (_known(detections.face_points)[..., 3] > 0).any(-1)
    has_hand = (_known(detections.hand_points)[..., 3] > 0).any(-1)
    hand = fit_hands(
        models,
        HandProblem(
            head=head,
            has_head=jnp.ones_like(has_face),
            prediction=prediction,
            points=detections.hand_points,
            world=detections.hand_world,
            touches=prediction.contact_presence * has_hand,
            intrinsics=chosen,
            known_camera=known,
            left=jnp.zeros_like(has_face),
        ),
    )
    camera = head.fitted.camera
    project = lambda points: project_scaled_perspective(
        points,
        camera.scale,
        camera.transl,
        chosen.focal_length,
        chosen.camera_center,
    )
    fitted_head = prediction.replace(
        head_vertices=head.vertices,
        head_keypoints_3d=head.landmarks,
        head_keypoints_2d=project(head.landmarks),
        head_params=head.fitted.params,
        camera=camera,
    )
    result = _choose(has_face, fitted_head, prediction)
    fitted_hand = result.replace(
        hand_vertices=hand.vertices,
        hand_keypoints_3d=hand.keypoints,
        hand_keypoints_2d=project(hand.keypoints),
        hand_params=hand.params,
        hand_contact_probs=hand.hand_contact_probs,
        head_contact_probs=hand.head_contact_probs,
        contact_presence=hand.contact_presence,
        deformations=hand.deformations,
    )
    result = _choose(has_hand & hand.accepted, fitted_hand, result)
    return result.replace(deformed_head_vertices=result.head_vertices - result.deformations)


def _choose(condition, first, second):
    """Entries of `first` where the condition holds, else of `second`."""
    pick = lambda a, b: jnp.where(condition.reshape(-1, *(1,) * (a.ndim - 1)), a, b)
    return jax.tree.map(pick, first, second)
