"""Confidence intervals: percentile bootstrap over SUBJECTS (Efron and Tibshirani 1993).

Images of one person are not independent. Therefore people are drawn with replacement, each with all
of their images. Each drawn data set is measured from its sums like the original, so ratios such as
F1 are exactly those of the drawn data set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from dice_jax.evaluation import summarize
from dice_jax.evaluation.summarize import MetricSums, metric_values

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0


def summarize_subjects(samples: MetricSums, subjects: Int[np.ndarray, "N"]) -> dict[str, Any]:
    """`summarize.summarize` with "intervals" and the number of "subjects" added.

    Args:
        samples: measured samples, leading dimension N.
        subjects: number of the person in each sample.
    """
    summary = summarize.summarize(summarize.total(samples))
    return {
        **summary,
        "subjects": len(np.unique(subjects)),
        "intervals": intervals(samples, subjects),
    }


def intervals(
    samples: MetricSums,
    subjects: Int[np.ndarray, "N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """95 % intervals of all metrics.

    Args:
        samples: measured samples, leading dimension N.
        subjects: number of the person in each sample.
        resamples: number of drawn data sets.
        seed: of the draws.

    Returns:
        [low, high] for each entry of `metric_values`. Drawn data sets in which a metric is not
        defined are left out; None if none is left, or if there is only one subject.
    """
    return _percentiles(metric_values, (samples,), subjects, resamples, seed)


def paired_intervals(
    first: MetricSums,
    second: MetricSums,
    subjects: Int[np.ndarray, "N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """95 % intervals of `metric_values(second) - metric_values(first)` on the same samples.

    Each drawn data set measures both. Effects of the subject that are common to both cancel, so a
    difference can be significant although the two separate intervals overlap. Arguments and result
    are those of `intervals`.
    """

    def difference(first: MetricSums, second: MetricSums) -> dict[str, Any]:
        return jax.tree.map(lambda a, b: b - a, metric_values(first), metric_values(second))

    return _percentiles(difference, (first, second), subjects, resamples, seed)


def _percentiles(
    statistic: Callable[..., dict[str, Any]],
    samples: tuple[MetricSums, ...],
    subjects: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    names, subject_ids = np.unique(subjects, return_inverse=True)
    count = len(names)
    sums = [_sums_by_subject(subject_ids, count, one) for one in samples]
    # How often each drawn data set contains each subject.
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    drawn = jax.tree.map(lambda x: np.tensordot(draws.astype(np.float64), x, 1), sums)
    tail = 50.0 * (1.0 - LEVEL)

    def percentiles(values: Float[np.ndarray, "R"]) -> list[float] | None:
        values = values[~np.isnan(values)]
        if count < 2 or not len(values):
            return None
        return [float(x) for x in np.percentile(values, [tail, 100.0 - tail])]

    return jax.tree.map(percentiles, statistic(*drawn))


def _sums_by_subject(ids: Int[np.ndarray, "N"], count: int, samples: MetricSums) -> MetricSums:
    """Sums over the samples of each subject, leading dimension `count`, float64."""
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(count))
    return jax.tree.map(
        lambda x: np.add.reduceat(np.asarray(x, np.float64)[order], starts, axis=0), samples
    )
