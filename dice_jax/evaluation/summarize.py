"""From predictions to the numbers of the paper's tables: measure samples, add them up, summarize.

Samples become SUMS and counts, and only `summarize` divides. Ragged last batches, padding and any
number of devices therefore give exactly the figures of one pass over the whole data set.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel
from dice_jax.metrics import contact
from dice_jax.metrics.interpenetration import f_score, hand_signed_distance, interpenetration
from dice_jax.metrics.keypoints import keypoints_2d_error, mpjpe, pa_mpjpe
from dice_jax.metrics.pve import deformation_error, distances, pa_pve, pve
from dice_jax.structs import Batch, Prediction, Targets


class MetricSums(struct.PyTreeNode):
    """What each sample (leading `*B`) or a whole data set (no leading dimension) adds to the
    metrics. Meters, pixels.

    Entries of samples without the label in question are 0.
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
    hand_contact: contact.Confusion
    head_contact: contact.Confusion
    hand_contact_scores: Float[Array, "*B 2 200"]
    head_contact_scores: Float[Array, "*B 2 200"]


def measure(
    prediction: Prediction,
    targets: Targets,
    batch: Batch,
    head_model: BodyModel,
    *,
    valid: Float[Array, "B"] | None = None,
    reference_leak_filter: bool = False,
) -> MetricSums:
    """The contribution of every sample of a batch; pure, to be jitted.

    Args:
        prediction, targets: head-centerd.
        batch: its `has_*` masks say which metrics a sample enters.
        head_model: gives the head's faces and cavities.
        valid: 0 for the padding of a ragged batch; None if there is none.
        reference_leak_filter: see `interpenetration.hand_signed_distance`.
    """
    p, t = prediction, targets
    valid = jnp.ones_like(batch.has_3d) if valid is None else valid
    has_3d, has_contact = valid * batch.has_3d, valid * batch.has_contact
    has_deformations, has_2d = valid * batch.has_deformations, valid * batch.has_2d

    def touch_and_collision(hand_vertices, head_vertices):
        sdf = hand_signed_distance(
            hand_vertices,
            head_vertices,
            head_model.faces,
            head_model.closed_faces,
            head_model.cavity,
            reference_leak_filter=reference_leak_filter,
        )
        return interpenetration(sdf)

    predicted = touch_and_collision(p.hand_vertices, p.deformed_head_vertices)
    truth = touch_and_collision(t.hand_vertices, t.deformed_head_vertices)
    keypoints_3d = jnp.concatenate([p.hand_keypoints_3d, p.head_keypoints_3d], axis=-2)
    target_keypoints = jnp.concatenate([t.hand_keypoints, t.head_keypoints], axis=-2)
    deformation, moved_error, moved_vertices = deformation_error(p.deformations, batch.deformations)
    hand_error_2d, hand_weight_2d = keypoints_2d_error(p.hand_keypoints_2d, batch.hand_keypoints_2d)
    head_error_2d, head_weight_2d = keypoints_2d_error(p.head_keypoints_2d, batch.head_keypoints_2d)
    pair = lambda x: jnp.concatenate([x.deformed_head_vertices, x.hand_vertices], axis=-2)
    hand_truth, head_truth = batch.hand_contact > 0.5, batch.head_contact > 0.5
    present = hand_truth.any(-1) | head_truth.any(-1)

    def keep(mask, values):
        """`values` where the mask is set; `where` and not a product, as a sample without labels may
        hold NaN.
        """
        return jax.tree.map(
            lambda v: jnp.where(
                mask.reshape(mask.shape + (1,) * (v.ndim - 1)) > 0, v.astype(jnp.float32), 0.0
            ),
            values,
        )

    return MetricSums(
        frames=has_3d,
        pve=keep(
            has_3d,
            pve(
                p.hand_vertices, p.deformed_head_vertices, t.hand_vertices, t.deformed_head_vertices
            ),
        ),
        pve_hand=keep(has_3d, distances(p.hand_vertices, t.hand_vertices).mean(-1)),
        pve_head=keep(
            has_3d, distances(p.deformed_head_vertices, t.deformed_head_vertices).mean(-1)
        ),
        pa_pve=keep(has_3d, pa_pve(pair(p), pair(t))),
        pa_pve_hand=keep(has_3d, pa_pve(p.hand_vertices, t.hand_vertices)),
        pa_pve_head=keep(has_3d, pa_pve(p.deformed_head_vertices, t.deformed_head_vertices)),
        mpjpe=keep(has_3d, mpjpe(keypoints_3d, target_keypoints)),
        pa_mpjpe=keep(has_3d, pa_mpjpe(keypoints_3d, target_keypoints)),
        collision_distance=keep(has_3d, predicted.collision_distance),
        non_colliding=keep(has_3d, predicted.non_colliding),
        touching_truth=keep(has_3d, truth.touching),
        touching_both=keep(has_3d, truth.touching & predicted.touching),
        deformation_frames=has_deformations,
        deformation_error=keep(has_deformations, deformation),
        moved_error=keep(has_deformations, moved_error),
        moved_vertices=keep(has_deformations, moved_vertices),
        hand_keypoints_2d_error=keep(has_2d, hand_error_2d),
        hand_keypoints_2d_weight=keep(has_2d, hand_weight_2d),
        head_keypoints_2d_error=keep(has_2d, head_error_2d),
        head_keypoints_2d_weight=keep(has_2d, head_weight_2d),
        contact_frames=has_contact,
        presence_correct=keep(has_contact, (p.contact_presence >= contact.THRESHOLD) == present),
        hand_contact=keep(
            has_contact, contact.confusion(p.hand_contact_probs >= contact.THRESHOLD, hand_truth)
        ),
        head_contact=keep(
            has_contact, contact.confusion(p.head_contact_probs >= contact.THRESHOLD, head_truth)
        ),
        hand_contact_scores=keep(
            has_contact, contact.score_histogram(p.hand_contact_probs, hand_truth)
        ),
        head_contact_scores=keep(
            has_contact, contact.score_histogram(p.head_contact_probs, head_truth)
        ),
    )


def total(samples: MetricSums) -> MetricSums:
    """The sums over samples (leading dimension N).

    On the host in float64: single precision stops counting vertices at 2^24, 3,340 heads.
    """
    return jax.tree.map(lambda values: np.asarray(values, np.float64).sum(axis=0), samples)


def figures(sums: MetricSums) -> dict[str, Any]:
    """The metrics of one data set, or of many at once (leading `*R`): lengths in mm, pixels, ratios
    in [0, 1].

    Returns:
        float64 arrays `*R` by name, NaN where no sample has the label; "contact" holds those of
        each part and of both.
    """

    def ratio(part, whole):
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)

    mm = lambda part, whole: 1000.0 * ratio(part, whole)
    s = sums
    non_collision, touchness = (
        ratio(s.non_colliding, s.frames),
        ratio(s.touching_both, s.touching_truth),
    )
    error_2d, weight_2d = (
        getattr(s, f"hand_keypoints_2d_{kind}") + getattr(s, f"head_keypoints_2d_{kind}")
        for kind in ("error", "weight")
    )
    parts = {
        "hand": (s.hand_contact, s.hand_contact_scores),
        "head": (s.head_contact, s.head_contact_scores),
    }
    parts["both"] = jax.tree.map(np.add, *parts.values())
    return {
        "pve_mm": mm(s.pve, s.frames),
        "mpjpe_mm": mm(s.mpjpe, s.frames),
        "pa_mpjpe_mm": mm(s.pa_mpjpe, s.frames),
        "collision_distance_mm": mm(s.collision_distance, s.frames),
        "non_collision_ratio": non_collision,
        "touchness_ratio": touchness,
        "f_score": f_score(touchness, non_collision),
        "contact": {
            part: {
                **contact.scores(counts),
                "average_precision": contact.average_precision(histogram),
            }
            for part, (counts, histogram) in parts.items()
        },
        "pve_hand_mm": mm(s.pve_hand, s.frames),
        "pve_head_mm": mm(s.pve_head, s.frames),
        "pa_pve_mm": mm(s.pa_pve, s.frames),
        "pa_pve_hand_mm": mm(s.pa_pve_hand, s.frames),
        "pa_pve_head_mm": mm(s.pa_pve_head, s.frames),
        "deformation_error_mm": mm(s.deformation_error, s.deformation_frames),
        "deformation_error_moved_mm": mm(s.moved_error, s.moved_vertices),
        "keypoints_2d_error_px": ratio(error_2d, weight_2d),
        "keypoints_2d_error_hand_px": ratio(s.hand_keypoints_2d_error, s.hand_keypoints_2d_weight),
        "keypoints_2d_error_head_px": ratio(s.head_keypoints_2d_error, s.head_keypoints_2d_weight),
        "presence_accuracy": ratio(s.presence_correct, s.contact_frames),
    }


def summarize(sums: MetricSums) -> dict[str, Any]:
    """`figures` of one data set ready for JSON, with the number of "frames"; None where no sample
    has the label.
    """
    number = lambda value: None if np.isnan(value) else float(value)
    return {"frames": int(sums.frames), **jax.tree.map(number, figures(sums))}
