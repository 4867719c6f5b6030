"""Measures trained weights on a split, as the tables 1 and 2 of the paper do.

  python -m dice_jax.evaluate --weights=default --data=hand_face_synth --split=test --out=runs/test

Writes metrics.json (`model`, and `mean_prediction`: what the best constant answer scores) and tables.md, which is also
printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from dice_jax import datasets, errors, evaluation, inference, xla_flags
from dice_jax.data import loader
from dice_jax.io import atomic
from dice_jax.metrics import tables
from dice_jax.structs import Batch

_WEIGHTS = flags.DEFINE_string("weights", "default", "Shipped weights by name, an exported folder, or a workdir.")
_DATA = flags.DEFINE_string("data", "hand_face_synth", "Data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where data sets lie. Default: $DICE_DATA or ~/.cache/dice_jax.")
_SPLIT = flags.DEFINE_string("split", "test", "Split to measure.")
_OUT = flags.DEFINE_string("out", None, "Folder of metrics.json and tables.md.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images at a time; no figure depends on it.", lower_bound=1)
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", None, "Measure no more than the first so many.", lower_bound=1)
_MEAN_SAMPLES = flags.DEFINE_integer(
  "mean_samples", 1000, "The mean prediction is the mean of the first so many training samples.", lower_bound=1
)


def main(argv: Sequence[str]) -> None:
  del argv
  xla_flags.set_cpu_preset()
  xla_flags.keep_compiled()

  ################ Weights and data ################
  out = atomic.writable_folder(_OUT.value)
  model = inference.load(_WEIGHTS.value)
  source = datasets.open_split(_DATA.value, _SPLIT.value, _DATA_DIR.value)
  train = datasets.open_split(_DATA.value, "train", _DATA_DIR.value, _MEAN_SAMPLES.value)
  samples = min(len(source), _MAX_SAMPLES.value or len(source))

  def batches(split: loader.Source, limit: int, title: str) -> Iterator[tuple[Batch, np.ndarray]]:
    count = -(-limit // _BATCH_SIZE.value)
    return tqdm(loader.sequential_batches(split, _BATCH_SIZE.value, limit), title, count, unit="batch")

  ################ The model ################
  predict = lambda batch: inference.infer(model, batch.images)
  bodies = model.hand_model, model.head_model
  summaries = {"model": evaluation.evaluate(predict, batches(source, samples, "model"), *bodies)}

  ################ The best constant answer ################
  limit = min(len(train), _MEAN_SAMPLES.value)
  constant = evaluation.mean_prediction(batches(train, limit, "mean of the training split"), *bodies)
  repeat = lambda batch: jax.tree.map(lambda x: jnp.broadcast_to(x, (len(batch.images), *x.shape)), constant)
  summaries["mean_prediction"] = evaluation.evaluate(repeat, batches(source, samples, "mean prediction"), *bodies)

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


if __name__ == "__main__":
  # Only here: another command line may import this module.
  flags.mark_flags_as_required(["out"])
  errors.run(main)
