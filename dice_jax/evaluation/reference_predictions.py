"""Predictions that need no network: the ground truth itself, and the mean of a split."""

from __future__ import annotations

from typing import cast

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

    Vertices, keypoints, deformations and contacts are averaged, each over the samples that carry
    its label: a picture without a hand does not move the mean hand. The squared error of any other
    constant is larger.

    Args:
        batches: from `loader.sequential_batches`, with every label.
        hand_model, head_model: body models that pose the ground truth.

    Returns:
        A prediction without batch dimension; parameters and camera are zero.
    """
    total = None
    for batch, valid in batches:
        sums = jax.device_get(_sums_and_weights(batch, valid, hand_model, head_model))
        sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    divide = lambda x, weight: jnp.asarray(x / np.maximum(weight, 1.0), jnp.float32)
    mean = jax.tree.map(divide, *cast(tuple[Prediction, Prediction], total))
    return mean.replace(deformed_head_vertices=mean.head_vertices - mean.deformations)


def repeat(prediction: Prediction, size: int) -> Prediction:
    """One prediction without batch dimension for each of `size` images."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *x.shape)), prediction)


@jax.jit
def _sums_and_weights(batch, valid, hand_model, head_model) -> tuple[Prediction, Prediction]:
    """Sums of the ground truth over a batch, and the weight of each of its numbers."""
    samples = true_prediction(batch, hand_model, head_model)
    valid = valid.astype(jnp.float32)
    masks = {
        "hand_contact_probs": batch.has_contact,
        "head_contact_probs": batch.has_contact,
        "contact_presence": batch.has_contact,
        "deformations": batch.has_deformations,
        "hand_keypoints_2d": batch.hand_keypoints_2d[..., 2:] > 0,
        "head_keypoints_2d": batch.head_keypoints_2d[..., 2:] > 0,
    }

    def spread(path, values):
        mask = jnp.asarray(masks.get(path[0].name, batch.has_3d), jnp.float32)
        expand = lambda x: x.reshape(*x.shape, *(1,) * (values.ndim - x.ndim))
        return jnp.broadcast_to(expand(mask) * expand(valid), values.shape)

    weights = jax.tree_util.tree_map_with_path(spread, samples)
    # Where a label is absent its array may hold anything.
    product = lambda x, weight: jnp.where(weight > 0, x * weight, 0.0).sum(0)
    return jax.tree.map(product, samples, weights), jax.tree.map(lambda w: w.sum(0), weights)
