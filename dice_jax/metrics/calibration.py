"""Whether probabilities mean what they say: of all cases given 0.8, eight in ten should be true."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array

GROUPS = 10  # of equal width in probability; divides the bins of `contact.score_histogram`


def reliability(
    histogram: Float[Array, "*R 2 N"], groups: int = GROUPS
) -> tuple[
    Float[np.ndarray, "*R {groups}"],
    Float[np.ndarray, "*R {groups}"],
    Float[np.ndarray, "*R {groups}"],
]:
    """Predicted and observed frequencies in groups of similar probability.

    Args:
        histogram: `contact.score_histogram`, summed over a data set.
        groups: their number; divides the number of bins.

    Returns:
        Mean predicted probability (of the centers of the bins), share of true cases, and share of
        all cases that are in the group. The first two are NaN in an empty group.
    """
    counts = np.asarray(histogram, np.float64)
    bins = counts.shape[-1]
    centers = (np.arange(bins) + 0.5) / bins
    pool = lambda values: values.reshape(*values.shape[:-1], groups, bins // groups).sum(-1)
    number = pool(counts.sum(-2))
    mean = lambda values: np.where(number > 0, pool(values) / np.maximum(number, 1.0), np.nan)
    total = np.maximum(number.sum(-1, keepdims=True), 1.0)
    return mean(centers * counts.sum(-2)), mean(counts[..., 1, :]), number / total


def calibration_error(
    histogram: Float[Array, "*R 2 N"], groups: int = GROUPS
) -> Float[np.ndarray, "*R"]:
    """Expected calibration error (Naeini et al. 2015): mean gap of prediction and observation.

    Args:
        histogram, groups: as for `reliability`.

    Returns:
        In [0, 1]; NaN if nothing was counted.
    """
    predicted, observed, share = reliability(histogram, groups)
    gap = np.where(share > 0, share * np.abs(np.nan_to_num(predicted - observed)), 0.0).sum(-1)
    return np.where(np.asarray(histogram).sum((-2, -1)) > 0, gap, np.nan)
