"""Quality of per-vertex contact (paper sec. 4.1), pooled over all vertices of all samples
("micro").
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array

THRESHOLD = 0.5
BINS = 200


class Confusion(struct.PyTreeNode):
    """Counts of vertices by predicted and true contact; they add up over samples, batches and
    devices.
    """

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


def scores(counts: Confusion) -> dict[str, Float[np.ndarray, "*R"]]:
    """F1, precision, recall and accuracy in [0, 1] of pooled counts, NumPy in float64.

    As usual a ratio without a single case is 0 (no vertex predicted: precision 0); without any
    vertex all are NaN.
    """
    tp, fp, fn, tn = (
        np.asarray(x, np.float64)
        for x in (
            counts.true_positive,
            counts.false_positive,
            counts.false_negative,
            counts.true_negative,
        )
    )
    everything = tp + fp + fn + tn
    ratio = lambda part, whole: np.where(everything > 0, part / np.maximum(whole, 1.0), np.nan)
    return {
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "accuracy": ratio(tp + tn, everything),
    }


def score_histogram(
    probs: Float[Array, "*B N"], truth: Bool[Array, "*B N"]
) -> Float[Array, "*B 2 200"]:
    """Histograms over [0, 1] of the probabilities of vertices that do not touch [..., 0, :] and
    that do [..., 1, :].
    """
    bins = jnp.clip((probs * BINS).astype(jnp.int32), 0, BINS - 1) + BINS * truth.astype(jnp.int32)
    count = jnp.vectorize(lambda row: jnp.bincount(row, length=2 * BINS), signature="(n)->(m)")
    return count(bins).reshape(*probs.shape[:-1], 2, BINS).astype(jnp.float32)


def precision_recall(
    histogram: Float[Array, "*R 2 200"],
) -> tuple[Float[np.ndarray, "*R 200"], Float[np.ndarray, "*R 200"]]:
    """Precision and recall at the thresholds 0.995, 0.990, ..., 0 from pooled histograms.

    Precision is 0 where nothing is predicted; recall is NaN where nothing touches.
    """
    negatives, positives = np.moveaxis(
        np.asarray(histogram, np.float64)[..., ::-1].cumsum(axis=-1), -2, 0
    )
    total = positives[..., -1:]
    precision = positives / np.maximum(positives + negatives, 1.0)
    return precision, np.where(total > 0, positives / np.maximum(total, 1.0), np.nan)


def average_precision(histogram: Float[Array, "*R 2 200"]) -> Float[np.ndarray, "*R"]:
    """Area under the precision-recall curve, threshold-free (to 1/200 in probability); NaN where
    nothing touches.
    """
    precision, recall = precision_recall(histogram)
    return np.sum(precision * np.diff(recall, axis=-1, prepend=0.0), axis=-1)
