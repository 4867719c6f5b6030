"""Quality of the per-vertex contact (paper sec. 4.1).

Scores are micro-averaged: the vertices of all samples are pooled before any ratio is taken.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array

THRESHOLD = 0.5  # a vertex of this probability or more counts as predicted contact
BINS = 200  # of the histograms over probability


class Confusion(struct.PyTreeNode):
    """Numbers of vertices by predicted and true contact; they add up over samples and devices."""

    true_positive: Float[Array, "*B"]
    false_positive: Float[Array, "*B"]
    false_negative: Float[Array, "*B"]
    true_negative: Float[Array, "*B"]


def confusion(predicted: Bool[Array, "*B N"], target: Bool[Array, "*B N"]) -> Confusion:
    """Counts the N vertices of each sample by predicted and true contact."""
    count = lambda mask: jnp.sum(mask, axis=-1).astype(jnp.float32)
    return Confusion(
        true_positive=count(predicted & target),
        false_positive=count(predicted & ~target),
        false_negative=count(~predicted & target),
        true_negative=count(~predicted & ~target),
    )


def scores(counts: Confusion) -> dict[str, Float[np.ndarray, "*R"]]:
    """F1, precision, recall and accuracy of pooled counts.

    Args:
        counts: sums over a data set; leading dimensions `*R` are several data sets.

    Returns:
        float64 arrays in [0, 1]. A ratio with denominator 0 is 0, for example the precision if no
        contact is predicted. All scores are NaN if no vertex was counted.
    """
    tp = np.asarray(counts.true_positive, np.float64)
    fp = np.asarray(counts.false_positive, np.float64)
    fn = np.asarray(counts.false_negative, np.float64)
    tn = np.asarray(counts.true_negative, np.float64)
    total = tp + fp + fn + tn
    ratio = lambda part, whole: np.where(total > 0, part / np.maximum(whole, 1.0), np.nan)
    return {
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "accuracy": ratio(tp + tn, total),
    }


def score_histogram(
    probs: Float[Array, "*B N"], target: Bool[Array, "*B N"]
) -> Float[Array, "*B 2 200"]:
    """Histograms of the predicted probabilities over [0, 1].

    Returns:
        Numbers of vertices by bin: of those not in contact at [..., 0, :], of those in contact at
        [..., 1, :].
    """
    bins = jnp.clip((probs * BINS).astype(jnp.int32), 0, BINS - 1) + BINS * target.astype(jnp.int32)
    count = jnp.vectorize(lambda row: jnp.bincount(row, length=2 * BINS), signature="(n)->(m)")
    return count(bins).reshape(*probs.shape[:-1], 2, BINS).astype(jnp.float32)


def at_threshold(histogram: Float[Array, "*R 2 200"]) -> Confusion:
    """Counts at the threshold 0.5 from `score_histogram`."""
    counts = np.asarray(histogram, np.float64)
    first = round(THRESHOLD * BINS)
    above, below = counts[..., first:].sum(-1), counts[..., :first].sum(-1)
    return Confusion(
        true_positive=np.asarray(above[..., 1]),
        false_positive=np.asarray(above[..., 0]),
        false_negative=np.asarray(below[..., 1]),
        true_negative=np.asarray(below[..., 0]),
    )


def precision_recall(
    histogram: Float[Array, "*R 2 200"],
) -> tuple[Float[np.ndarray, "*R 200"], Float[np.ndarray, "*R 200"]]:
    """Precision and recall at the thresholds 0.995, 0.990, ..., 0.

    Args:
        histogram: `score_histogram`, summed over a data set.

    Returns:
        Precision, 0 where no contact is predicted; recall, NaN if no vertex is in contact.
    """
    falling = np.asarray(histogram, np.float64)[..., ::-1]
    negatives, positives = np.moveaxis(falling.cumsum(axis=-1), -2, 0)
    total = positives[..., -1:]
    precision = positives / np.maximum(positives + negatives, 1.0)
    return precision, np.where(total > 0, positives / np.maximum(total, 1.0), np.nan)


def average_precision(histogram: Float[Array, "*R 2 200"]) -> Float[np.ndarray, "*R"]:
    """Area under the precision-recall curve; it depends on no threshold.

    Args:
        histogram: `score_histogram`, summed over a data set. Its bins limit the resolution of the
            curve to 1/200 in probability.

    Returns:
        Average precision in [0, 1]; NaN if no vertex is in contact.
    """
    precision, recall = precision_recall(histogram)
    return np.asarray(np.sum(precision * np.diff(recall, axis=-1, prepend=0.0), axis=-1))
