"""Predictions that need no network: the ground truth itself, and the mean of a split."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax import models
from dice_jax.body_models.lbs import BodyModel
from dice_jax.evaluation.measure import Batches
from dice_jax.structs import Batch, Camera, HandParams, HeadParams, Prediction


@jax.jit
def true_prediction(batch: Batch, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
    """The ground truth of a batch in the form of a prediction.

    Parameters and camera are zero; no metric uses them.
    """
    targets = models.pose_targets(batch, hand_model, head_model)
    size = len(batch.images)
    zeros = lambda *shape: jnp.zeros((size, *shape))
    presence = jnp.maximum(batch.hand_contact.max(-1), batch.head_contact.max(-1))
    return Prediction(
        hand_vertices=targets.hand_vertices,
        head_vertices=targets.head_vertices,
        deformations=batch.deformations,
        deformed_head_vertices=targets.deformed_head_vertices,
        hand_keypoints_3d=targets.hand_keypoints,
        head_keypoints_3d=targets.head_keypoints,
        hand_keypoints_2d=batch.hand_keypoints_2d[..., :2],
        head_keypoints_2d=batch.head_keypoints_2d[..., :2],
        hand_contact_probs=batch.hand_contact,
        head_contact_probs=batch.head_contact,
        contact_presence=presence,
        hand_params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
        head_params=HeadParams(zeros(100), zeros(50), zeros(3), zeros(3), zeros(3), zeros(3)),
        camera=Camera(zeros(), zeros(2)),
    )


def mean_prediction(batches: Batches, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
    """The mean of the ground truth over a split: the constant prediction closest to it.

    Vertices, keypoints, deformations and contacts are averaged. The squared error of any other
    constant is larger.

    Args:
        batches: from `loader.sequential_batches`, with every label.
        hand_model, head_model: body models that pose the ground truth.

    Returns:
        A prediction without batch dimension; parameters and camera are zero.
    """
    total, count = None, 0
    for batch, valid in batches:
        sums = jax.device_get(_sum_of_targets(batch, valid, hand_model, head_model))
        sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
        total = sums if total is None else jax.tree.map(np.add, total, sums)
        count += int(valid.sum())
    return jax.tree.map(lambda x: jnp.asarray(x / count, jnp.float32), total)


def repeat(prediction: Prediction, size: int) -> Prediction:
    """One prediction without batch dimension for each of `size` images."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *x.shape)), prediction)


@jax.jit
def _sum_of_targets(batch, valid, hand_model, head_model):
    samples = true_prediction(batch, hand_model, head_model)
    return jax.tree.map(lambda x: jnp.tensordot(valid.astype(x.dtype), x, 1), samples)
