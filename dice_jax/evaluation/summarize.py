"""From predictions to the numbers of the paper's tables: measure samples, add up, divide.

Each sample contributes SUMS and counts; only `metric_values` divides them. The metrics therefore do
not depend on the batch size, on padding or on the number of devices.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel
from dice_jax.metrics import contact
from dice_jax.metrics.calibration import calibration_error
from dice_jax.metrics.interpenetration import (
    Interpenetration,
    f_score,
    hand_signed_distance,
    interpenetration,
)
from dice_jax.metrics.keypoints import keypoints_2d_error, mpjpe, pa_mpjpe
from dice_jax.metrics.pve import deformation_error, distances, pa_pve, pve
from dice_jax.structs import Batch, Prediction, Targets

_TIPS = np.array([4, 8, 12, 16, 20])  # each after the last joint of its finger
_SHORT_TIP = 0.7


class MetricSums(struct.PyTreeNode):
    """Contribution of each sample (leading `*B`) or of a whole data set to the metrics.

    Lengths are meters, image distances are pixels. A field is 0 for samples without its label.

    Attributes:
        frames: 1 for a sample with 3D labels.
        pve, pve_hand, pve_head, pa_pve, pa_pve_hand, pa_pve_head: mean errors over vertices.
        mpjpe, pa_mpjpe: mean errors over keypoints.
        collision_distance, non_colliding: see `Interpenetration`, of the prediction.
        touching_truth: the ground truth touches.
        touching_both: ground truth and prediction touch.
        deformation_frames: 1 for a sample with deformation labels.
        deformation_error: mean error over the vertices of the head.
        moved_error, moved_vertices: sum of the errors of the moved vertices, and their number.
        hand_keypoints_2d_error, head_keypoints_2d_error: distances, weighted by confidence.
        hand_keypoints_2d_weight, head_keypoints_2d_weight: sums of the confidences.
        contact_frames: 1 for a sample with contact labels.
        presence_correct: the predicted contact presence is right.
        presence_scores: histogram of the probability that anything touches.
        hand_scores: histogram of the probability that there is a hand, over all samples.
        hand_depth_error: error of the mean depth of the hand's keypoints relative to the head.
        hand_contact, head_contact: confusion counts at the contact threshold.
        hand_contact_scores, head_contact_scores: histograms of the contact probabilities.
    """

    frames: Float[Array, "*B"]
    pve: Float[Array, "*B"]
    pve_hand: Float[Array, "*B"]
    pve_head: Float[Array, "*B"]
    pa_pve: Float[Array, "*B"]
    pa_pve_hand: Float[Array, "*B"]
    pa_pve_head: Float[Array, "*B"]
    mpjpe: Float[Array, "*B"]
    pa_mpjpe: Float[Array, "*B"]
    collision_distance: Float[Array, "*B"]
    non_colliding: Float[Array, "*B"]
    touching_truth: Float[Array, "*B"]
    touching_both: Float[Array, "*B"]
    deformation_frames: Float[Array, "*B"]
    deformation_error: Float[Array, "*B"]
    moved_error: Float[Array, "*B"]
    moved_vertices: Float[Array, "*B"]
    hand_keypoints_2d_error: Float[Array, "*B"]
    hand_keypoints_2d_weight: Float[Array, "*B"]
    head_keypoints_2d_error: Float[Array, "*B"]
    head_keypoints_2d_weight: Float[Array, "*B"]
    contact_frames: Float[Array, "*B"]
    presence_correct: Float[Array, "*B"]
    presence_scores: Float[Array, "*B 2 200"]
    hand_scores: Float[Array, "*B 2 200"]
    hand_depth_error: Float[Array, "*B"]
    hand_contact: contact.Confusion
    head_contact: contact.Confusion
    hand_contact_scores: Float[Array, "*B 2 200"]
    head_contact_scores: Float[Array, "*B 2 200"]


@dataclasses.dataclass(frozen=True)
class ReferenceChoices:
    """What the authors' evaluation does and this one does not: to compare with published numbers.

    Attributes:
        leak_filter: see `interpenetration.hand_signed_distance`.
        finger_tips: the keypoints at the finger tips are moved to 0.7 of the last bone, which makes
            the errors of keypoints smaller.
    """

    leak_filter: bool = False
    finger_tips: bool = False


OWN_CHOICES = ReferenceChoices()


def measure_samples(
    prediction: Prediction,
    targets: Targets,
    batch: Batch,
    head_model: BodyModel,
    *,
    valid: Float[Array, "B"] | None = None,
    reference: ReferenceChoices = OWN_CHOICES,
) -> MetricSums:
    """Contribution of each sample of a batch to the metrics; pure, meant to be jitted.

    Args:
        prediction, targets: head-centered, meters.
        batch: its `has_*` masks decide which metrics a sample contributes to.
        head_model: gives the faces of the head and its cavities.
        valid: 0 for the padding of a ragged batch; None: there is no padding.
        reference: choices of the authors' evaluation.
    """
    valid = jnp.ones_like(batch.has_3d) if valid is None else valid
    has_3d, has_2d = valid * batch.has_3d, valid * batch.has_2d
    has_deformations, has_contact = valid * batch.has_deformations, valid * batch.has_contact

    vertices = _vertex_errors(prediction, targets)
    keypoints = _keypoint_errors(prediction, targets, reference.finger_tips)
    collisions = _collisions(prediction, targets, head_model, reference.leak_filter)
    deformations = _deformation_errors(prediction, batch)
    image = _image_errors(prediction, batch)
    contacts = _contact_counts(prediction, batch)
    return MetricSums(
        frames=has_3d,
        deformation_frames=has_deformations,
        contact_frames=has_contact,
        **_masked(has_3d, vertices | keypoints | collisions),
        **_masked(has_deformations, deformations),
        **_masked(has_2d, image),
        **_masked(has_contact, contacts),
        **_masked(valid, {"hand_scores": _hand_scores(prediction, batch)}),
    )


def total(samples: MetricSums) -> MetricSums:
    """Sums over samples (leading dimension N).

    Added in float64 on the host: float32 cannot count beyond 2^24, the vertices of 3,340 heads.
    """
    return jax.tree.map(lambda values: np.asarray(values, np.float64).sum(axis=0), samples)


def metric_values(sums: MetricSums) -> dict[str, Any]:
    """Metrics of one data set, or of several at once.

    Args:
        sums: `total`; leading dimensions `*R` are several data sets.

    Returns:
        float64 arrays `*R` by name: lengths in millimeters, image distances in pixels, ratios in
        [0, 1]; NaN where no sample has the label. "contact" holds the scores of "hand", "head" and
        "both".
    """

    def ratio(part, whole):
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)

    millimeters = lambda part, whole: 1000.0 * ratio(part, whole)
    s = sums
    non_collision = ratio(s.non_colliding, s.frames)
    touchness = ratio(s.touching_both, s.touching_truth)
    error_2d = s.hand_keypoints_2d_error + s.head_keypoints_2d_error
    weight_2d = s.hand_keypoints_2d_weight + s.head_keypoints_2d_weight
    hand = s.hand_contact, s.hand_contact_scores
    head = s.head_contact, s.head_contact_scores
    both = jax.tree.map(np.add, hand, head)
    return {
        "pve_mm": millimeters(s.pve, s.frames),
        "mpjpe_mm": millimeters(s.mpjpe, s.frames),
        "pa_mpjpe_mm": millimeters(s.pa_mpjpe, s.frames),
        "collision_distance_mm": millimeters(s.collision_distance, s.frames),
        "non_collision_ratio": non_collision,
        "touchness_ratio": touchness,
        "f_score": f_score(touchness, non_collision),
        "contact": {
            "hand": _contact_values(*hand),
            "head": _contact_values(*head),
            "both": _contact_values(*both),
        },
        "pve_hand_mm": millimeters(s.pve_hand, s.frames),
        "pve_head_mm": millimeters(s.pve_head, s.frames),
        "pa_pve_mm": millimeters(s.pa_pve, s.frames),
        "pa_pve_hand_mm": millimeters(s.pa_pve_hand, s.frames),
        "pa_pve_head_mm": millimeters(s.pa_pve_head, s.frames),
        "deformation_error_mm": millimeters(s.deformation_error, s.deformation_frames),
        "deformation_error_moved_mm": millimeters(s.moved_error, s.moved_vertices),
        "keypoints_2d_error_px": ratio(error_2d, weight_2d),
        "keypoints_2d_error_hand_px": ratio(s.hand_keypoints_2d_error, s.hand_keypoints_2d_weight),
        "keypoints_2d_error_head_px": ratio(s.head_keypoints_2d_error, s.head_keypoints_2d_weight),
        "hand_depth_error_mm": millimeters(s.hand_depth_error, s.frames),
        "presence_accuracy": ratio(s.presence_correct, s.contact_frames),
        "presence_calibration_error": calibration_error(s.presence_scores),
        "hand_presence_accuracy": contact.scores(contact.at_threshold(s.hand_scores))["accuracy"],
        "hand_presence_calibration_error": calibration_error(s.hand_scores),
    }


def summarize(sums: MetricSums) -> dict[str, Any]:
    """`metric_values` of one data set for JSON: NaN becomes None, and "frames" is added."""
    number = lambda value: None if np.isnan(value) else float(value)
    return {"frames": int(sums.frames), **jax.tree.map(number, metric_values(sums))}


def _masked(mask: Float[Array, "B"], values: dict[str, Any]) -> dict[str, Any]:
    """`values` as float32, and 0 where the mask is 0.

    Selected and not multiplied, because the values of a sample without labels may be NaN.
    """

    def select(x):
        return jnp.where(
            mask.reshape(mask.shape + (1,) * (x.ndim - 1)) > 0, x.astype(jnp.float32), 0.0
        )

    return jax.tree.map(select, values)


def _vertex_errors(p: Prediction, t: Targets) -> dict[str, Array]:
    head, true_head = p.deformed_head_vertices, t.deformed_head_vertices
    hand, true_hand = p.hand_vertices, t.hand_vertices
    both = jnp.concatenate([head, hand], axis=-2)
    true_both = jnp.concatenate([true_head, true_hand], axis=-2)
    return {
        "pve": pve(hand, head, true_hand, true_head),
        "pve_hand": distances(hand, true_hand).mean(-1),
        "pve_head": distances(head, true_head).mean(-1),
        "pa_pve": pa_pve(both, true_both),
        "pa_pve_hand": pa_pve(hand, true_hand),
        "pa_pve_head": pa_pve(head, true_head),
    }


def _keypoint_errors(p: Prediction, t: Targets, short_tips: bool) -> dict[str, Array]:
    hand = _with_short_tips if short_tips else lambda points: points
    keypoints = jnp.concatenate([hand(p.hand_keypoints_3d), p.head_keypoints_3d], axis=-2)
    true_keypoints = jnp.concatenate([hand(t.hand_keypoints), t.head_keypoints], axis=-2)
    depth = lambda points: points[..., 2].mean(-1)
    return {
        "hand_depth_error": jnp.abs(depth(p.hand_keypoints_3d) - depth(t.hand_keypoints)),
        "mpjpe": mpjpe(keypoints, true_keypoints),
        "pa_mpjpe": pa_mpjpe(keypoints, true_keypoints),
    }


def _with_short_tips(keypoints: Float[Array, "*B 21 3"]) -> Float[Array, "*B 21 3"]:
    tips, before = keypoints[..., _TIPS, :], keypoints[..., _TIPS - 1, :]
    return jnp.asarray(keypoints).at[..., _TIPS, :].set(before + _SHORT_TIP * (tips - before))


def _collisions(
    p: Prediction, t: Targets, head_model: BodyModel, reference_leak_filter: bool
) -> dict[str, Array]:
    def collide(meshes: Prediction | Targets) -> Interpenetration:
        sdf = hand_signed_distance(
            meshes.hand_vertices,
            meshes.deformed_head_vertices,
            head_model.faces,
            head_model.closed_faces,
            head_model.cavity,
            reference_leak_filter=reference_leak_filter,
        )
        return interpenetration(sdf)

    predicted, true = collide(p), collide(t)
    return {
        "collision_distance": predicted.collision_distance,
        "non_colliding": predicted.non_colliding,
        "touching_truth": true.touching,
        "touching_both": true.touching & predicted.touching,
    }


def _deformation_errors(p: Prediction, batch: Batch) -> dict[str, Array]:
    names = ("deformation_error", "moved_error", "moved_vertices")
    return dict(zip(names, deformation_error(p.deformations, batch.deformations)))


def _image_errors(p: Prediction, batch: Batch) -> dict[str, Array]:
    hand_error, hand_weight = keypoints_2d_error(p.hand_keypoints_2d, batch.hand_keypoints_2d)
    head_error, head_weight = keypoints_2d_error(p.head_keypoints_2d, batch.head_keypoints_2d)
    return {
        "hand_keypoints_2d_error": hand_error,
        "hand_keypoints_2d_weight": hand_weight,
        "head_keypoints_2d_error": head_error,
        "head_keypoints_2d_weight": head_weight,
    }


def _contact_counts(p: Prediction, batch: Batch) -> dict[str, Any]:
    hand, head = batch.hand_contact > 0.5, batch.head_contact > 0.5
    present = jnp.asarray(hand.any(-1) | head.any(-1))
    touch = lambda probs: probs >= contact.THRESHOLD
    return {
        "presence_correct": touch(p.contact_presence) == present,
        "presence_scores": contact.score_histogram(
            p.contact_presence[..., None], present[..., None]
        ),
        "hand_contact": contact.confusion(touch(p.hand_contact_probs), hand),
        "head_contact": contact.confusion(touch(p.head_contact_probs), head),
        "hand_contact_scores": contact.score_histogram(p.hand_contact_probs, hand),
        "head_contact_scores": contact.score_histogram(p.head_contact_probs, head),
    }


def _hand_scores(p: Prediction, batch: Batch) -> Array:
    """A prediction that does not tell is sure that there is a hand."""
    there = jnp.ones_like(batch.has_hand) if p.hand_presence is None else p.hand_presence
    return contact.score_histogram(there[..., None], batch.has_hand[..., None] > 0.5)


def _contact_values(counts: contact.Confusion, histogram: Float[Array, "*R 2 200"]):
    return contact.scores(counts) | {
        "average_precision": contact.average_precision(histogram),
        "calibration_error": calibration_error(histogram),
    }
