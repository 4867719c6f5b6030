"""Measures trained weights on a split, as the tables 1 and 2 of the paper do.

  python -m dice_jax.evaluate --weights=default --data=hand_face_synth --split=test --out=runs/test

Writes metrics.json (`model`, and `mean_prediction`: what the best constant answer scores) and tables.md, which is also printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from dice_jax import datasets, errors, inference, models, xla_flags
from dice_jax.body_models.lbs import BodyModel
from dice_jax.data import loader
from dice_jax.io import atomic
from dice_jax.metrics import accumulate, tables
from dice_jax.structs import Batch, Camera, HandParams, HeadParams, Prediction

_WEIGHTS = flags.DEFINE_string("weights", "default", "Shipped weights by name, an export folder, or a training workdir.")
_DATA = flags.DEFINE_string("data", "hand_face_synth", "Data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where data sets lie. Default: $DICE_DATA or ~/.cache/dice_jax.")
_SPLIT = flags.DEFINE_string("split", "test", "Split to measure.")
_OUT = flags.DEFINE_string("out", None, "Folder of metrics.json and tables.md.", required=True)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images at a time; the figures do not depend on it.", lower_bound=1)
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", None, "Measure no more than the first so many.", lower_bound=1)
_MAX_TRAIN_SAMPLES = flags.DEFINE_integer(
  "max_train_samples", 2000, "The mean prediction is the mean of so many training samples.", lower_bound=1
)

Batches = Iterable[tuple[Batch, np.ndarray]]


def main(argv: Sequence[str]) -> None:
  del argv
  xla_flags.set_cpu_preset()

  ################ Weights and data ################
  out = atomic.writable_folder(_OUT.value)
  model = inference.load(_WEIGHTS.value)
  source = datasets.open_split(_DATA.value, _SPLIT.value, _DATA_DIR.value)
  train = datasets.open_split(_DATA.value, "train", _DATA_DIR.value)
  samples = min(len(source), _MAX_SAMPLES.value or len(source))

  def batches(split: loader.Source, limit: int, title: str) -> Iterator[tuple[Batch, np.ndarray]]:
    count = -(-limit // _BATCH_SIZE.value)
    return tqdm(loader.sequential_batches(split, _BATCH_SIZE.value, limit), title, count, unit="batch")

  ################ The model ################
  predict = lambda batch: inference.infer(model, batch.images)
  bodies = model.hand_model, model.head_model
  summaries = {"model": evaluate(predict, batches(source, samples, "model"), *bodies)}

  ################ The best constant answer ################
  limit = min(len(train), _MAX_TRAIN_SAMPLES.value)
  constant = mean_prediction(batches(train, limit, "mean of the training split"), *bodies)
  repeat = lambda batch: jax.tree.map(lambda x: jnp.broadcast_to(x, (len(batch.images), *x.shape)), constant)
  summaries["mean_prediction"] = evaluate(repeat, batches(source, samples, "mean prediction"), *bodies)

  ################ Tables ################
  device = jax.devices()[0].device_kind
  header = (
    f"{_WEIGHTS.value} on {_DATA.value} {_SPLIT.value}: {samples} samples, device {device}, batch {_BATCH_SIZE.value}, "
    f"float32, no random numbers; mean prediction over {limit} training samples"
  )
  report = "\n".join([
    header + "\n",
    tables.mesh_table(summaries),
    tables.contact_table(summaries),
    tables.detail_table(summaries),
  ])
  (out / "tables.md").write_text(report)
  (out / "metrics.json").write_text(json.dumps({"about": header, **summaries}, indent=2) + "\n")
  print(report)


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
    raise errors.UserError("the split to evaluate is empty")
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


if __name__ == "__main__":
  errors.run(main)
