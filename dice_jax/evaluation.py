"""The metrics of anything that answers, over a whole split; and the best constant answer to compare it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax import models
from dice_jax.body_models.lbs import BodyModel
from dice_jax.errors import UserError
from dice_jax.metrics import accumulate
from dice_jax.structs import Batch, Camera, HandParams, HeadParams, Prediction

# From `data.loader.sequential_batches`: which samples of a batch count.
Batches = Iterable[tuple[Batch, np.ndarray]]


def evaluate(
  predict: Callable[[Batch], Prediction], batches: Batches, hand_model: BodyModel, head_model: BodyModel
) -> dict[str, Any]:
  """The metrics of `predict` over all samples that count, see `metrics.accumulate.summarise`.

  Args:
    predict: from a batch to head-centred meshes.
    batches: from `data.loader.sequential_batches`; repeats at the end of a ragged last batch do not count.
    hand_model, head_model: the body models that the ground truth belongs to.

  Raises:
    UserError: there is not one sample.
  """
  sums = None
  for batch, valid in batches:
    samples = _measure(predict(batch), batch, valid.astype(np.float32), hand_model, head_model)
    sums = accumulate.accumulate(sums, samples)
  if sums is None:
    raise UserError("the split to evaluate is empty")
  return accumulate.summarise(sums)


def mean_prediction(batches: Batches, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
  """The constant answer closest to a split: mean vertices, keypoints, deformations and contact rates.

  Args:
    batches: from `data.loader.sequential_batches`, with every label.
    hand_model, head_model: pose the ground truth.

  Returns:
    A prediction without batch dimension. Its meshes are means over vertices, so no parameters belong to them: those
    are zero.
  """
  total, count = None, 0
  for batch, valid in batches:
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), _sum_of_answers(batch, valid, hand_model, head_model))
    total = sums if total is None else jax.tree.map(np.add, total, sums)
    count += int(valid.sum())
  return jax.tree.map(lambda x: jnp.asarray(x / count, jnp.float32), total)


@jax.jit
def _measure(prediction, batch, valid, hand_model, head_model):
  targets = models.pose_targets(batch, hand_model, head_model)
  return accumulate.measure(prediction, targets, batch, head_model, valid=valid)


@jax.jit
def _sum_of_answers(batch, valid, hand_model, head_model):
  answer = true_prediction(batch, hand_model, head_model)
  return jax.tree.map(lambda x: jnp.tensordot(valid.astype(x.dtype), x, 1), answer)


def true_prediction(batch: Batch, hand_model: BodyModel, head_model: BodyModel) -> Prediction:
  """The ground truth in the shape of an answer; parameters and camera, which no metric reads, are zero."""
  targets = models.pose_targets(batch, hand_model, head_model)
  size = len(batch.images)
  zeros = lambda *shape: jnp.zeros((size, *shape))
  touched = jnp.maximum(batch.hand_contact.max(-1), batch.head_contact.max(-1))
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
    contact_presence=touched,
    hand_params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
    head_params=HeadParams(zeros(100), zeros(50), zeros(3), zeros(3), zeros(3), zeros(3)),
    camera=Camera(zeros(), zeros(2)),
  )
