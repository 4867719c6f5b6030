"""How far figures could have come out otherwise: percentile bootstrap over SUBJECTS (Efron and
Tibshirani 1993).

Pictures of one person resemble each other, so people are drawn with replacement, each with all of
their pictures. A drawn data set is measured like any other, from its sums: ratios such as F1 are
those of the drawn data, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from dice_jax.evaluation import summarize
from dice_jax.evaluation.summarize import MetricSums, figures

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0


def summarize_subjects(samples: MetricSums, subjects: Int[np.ndarray, "N"]) -> dict[str, Any]:
    """`summarize.summarize` of N samples, with the number of "subjects" and their "intervals"."""
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
    """95 % intervals of all `figures`.

    Args:
        samples: as measured, leading dimension N.
        subjects: who is in each sample.
        resamples: data sets drawn.
        seed: of the draws.

    Returns:
        [low, high] in the layout of `figures`. None where a figure is defined in no drawn data set
        (those in which it is not are left out), or where there is but one subject.
    """
    return _percentiles(figures, (samples,), subjects, resamples, seed)


def paired_intervals(
    first: MetricSums,
    second: MetricSums,
    subjects: Int[np.ndarray, "N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """95 % intervals of `figures(second) - figures(first)` on the same samples: every draw measures
    both.

    What makes a subject hard for both cancels, so that a difference can be certain though the two
    intervals overlap. Arguments and result as in `intervals`.
    """
    subtract = lambda a, b: jax.tree.map(lambda x, y: y - x, figures(a), figures(b))
    return _percentiles(subtract, (first, second), subjects, resamples, seed)


def _percentiles(
    statistic: Callable[..., dict],
    samples: tuple[MetricSums, ...],
    subjects: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    names, subject_ids = np.unique(subjects, return_inverse=True)
    rows = [_sums_by(subject_ids, len(names), one) for one in samples]
    # How often each subject is drawn.
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), resamples
    )
    drawn = [
        jax.tree.map(lambda x: np.tensordot(draws.astype(np.float64), x, 1), one) for one in rows
    ]
    tail = 50.0 * (1.0 - LEVEL)

    def percentiles(values: Float[np.ndarray, "R"]) -> list[float] | None:
        values = values[~np.isnan(values)]
        if len(names) < 2 or not len(values):
            return None
        return [float(x) for x in np.percentile(values, [tail, 100.0 - tail])]

    return jax.tree.map(percentiles, statistic(*drawn))


def _sums_by(ids: Int[np.ndarray, "N"], count: int, samples: MetricSums) -> MetricSums:
    """Sums over the samples of each subject, leading dimension `count`, float64."""
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(count))
    return jax.tree.map(
        lambda x: np.add.reduceat(np.asarray(x, np.float64)[order], starts, axis=0), samples
    )
