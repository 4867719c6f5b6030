"""Quality of per-vertex contact (paper sec. 4.1), pooled over all vertices of all samples ("micro")."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

THRESHOLD = 0.5
BINS = 200


@struct.dataclass
class Confusion:
  """Counts of vertices by predicted and true contact; they add up over samples, batches and devices."""

  true_positive: Float[Array, "*B"]
  false_positive: Float[Array, "*B"]
  false_negative: Float[Array, "*B"]
  true_negative: Float[Array, "*B"]


def confusion(predicted: Bool[Array, "*B N"], truth: Bool[Array, "*B N"]) -> Confusion:
  """Counts over the last axis."""
  count = lambda mask: jnp.sum(mask, axis=-1).astype(jnp.float32)
  return Confusion(
    true_positive=count(predicted & truth),
    false_positive=count(predicted & ~truth),
    false_negative=count(~predicted & truth),
    true_negative=count(~predicted & ~truth),
  )


def scores(counts: Confusion) -> dict[str, float | None]:
  """F1, precision, recall and accuracy in [0, 1] of pooled counts.

  As usual a ratio without a single case is 0 (no vertex predicted: precision 0); without any vertex all are None.
  """
  tp, fp = float(counts.true_positive), float(counts.false_positive)
  fn, tn = float(counts.false_negative), float(counts.true_negative)
  everything = tp + fp + fn + tn
  if not everything:
    return dict.fromkeys(("f1", "precision", "recall", "accuracy"))
  ratio = lambda part, whole: part / whole if whole else 0.0
  return {
    "f1": ratio(2 * tp, 2 * tp + fp + fn),
    "precision": ratio(tp, tp + fp),
    "recall": ratio(tp, tp + fn),
    "accuracy": (tp + tn) / everything,
  }


def score_histogram(probs: Float[Array, "*B N"], truth: Bool[Array, "*B N"]) -> Float[Array, "*B 2 200"]:
  """Histograms over [0, 1] of the probabilities of vertices that do not touch [..., 0, :] and that do [..., 1, :]."""
  bins = jnp.clip((probs * BINS).astype(jnp.int32), 0, BINS - 1) + BINS * truth.astype(jnp.int32)
  count = jnp.vectorize(lambda row: jnp.bincount(row, length=2 * BINS), signature="(n)->(m)")
  return count(bins).reshape(*probs.shape[:-1], 2, BINS).astype(jnp.float32)


def average_precision(histogram: Float[Array, "2 200"]) -> float | None:
  """Area under the precision-recall curve, threshold-free, from pooled histograms (so to 1/200 in probability)."""
  negatives, positives = np.asarray(histogram, np.float64)[:, ::-1].cumsum(axis=-1)
  if not positives[-1]:
    return None
  precision = positives / np.maximum(positives + negatives, 1.0)
  return float(np.sum(precision * np.diff(positives, prepend=0.0)) / positives[-1])
