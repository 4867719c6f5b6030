"""How much one evaluation differs from another on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import jax
import numpy as np

from dice_jax.evaluation import bootstrap, summarize
from dice_jax.evaluation.report.record import Record


def short_names(paths: Sequence[str]) -> list[str]:
    """The shortest ends of different paths that tell them apart: a/test and b/test of runs/a/test
    and runs/b/test.
    """
    parts = [PurePath(path).parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = [str(PurePath(*one[-count:])) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def difference(first: Record, second: Record) -> dict[str, Any]:
    """`accumulate.figures` of `second` minus those of `first`, with the "intervals" of the paired
    difference.

    Args:
        first, second: of the same samples, see `record.check_comparable`.

    Returns:
        Numbers for JSON; None where either has no such figure.
    """
    one, other = (summarize.figures(summarize.total(record.samples)) for record in (first, second))
    number = lambda a, b: None if np.isnan(a) or np.isnan(b) else float(b - a)
    intervals = bootstrap.paired_intervals(first.samples, second.samples, first.labels.subject)
    return {**jax.tree.map(number, one, other), "intervals": intervals}
