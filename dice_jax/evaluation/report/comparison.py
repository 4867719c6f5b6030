"""Differences between two evaluations on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import jax
import numpy as np

from dice_jax.evaluation import bootstrap, summarize
from dice_jax.evaluation.report.record import Record


def short_names(paths: Sequence[str]) -> list[str]:
    """The shortest suffixes, in whole path components, that tell the paths apart.

    For example "a/test" and "b/test" for "runs/a/test" and "runs/b/test".
    """
    parts = [PurePath(path).parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = [str(PurePath(*one[-count:])) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def difference(first: Record, second: Record) -> dict[str, Any]:
    """Metrics of `second` minus those of `first`.

    Args:
        first, second: of the same samples, see `record.check_comparable`.

    Returns:
        The layout of `summarize.metric_values`, with the paired "intervals" added; numbers for
        JSON, None where a metric is not defined in both.
    """
    values = [summarize.metric_values(summarize.total(one.samples)) for one in (first, second)]
    number = lambda a, b: None if np.isnan(a) or np.isnan(b) else float(b - a)
    intervals = bootstrap.paired_intervals(first.samples, second.samples, first.labels.subject)
    return {**jax.tree.map(number, *values), "intervals": intervals}
