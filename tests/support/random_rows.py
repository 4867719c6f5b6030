"""Random `MetricSums`, in place of measured samples."""

from collections.abc import Sequence

import jax
import numpy as np

from dice_jax.evaluation.summarize import MetricSums
from dice_jax.metrics.contact import BINS, Confusion


def random_rows(count: int, rng: np.random.Generator) -> MetricSums:
    """`count` samples with every label. Counts are consistent like those of real samples."""
    histograms = ("presence_scores", "hand_scores")
    names = [
        name
        for name in MetricSums.__dataclass_fields__
        if "contact" not in name and name not in histograms
    ]
    plain = {name: rng.gamma(4, 0.005, count) for name in names}
    plain |= {name: np.ones(count) for name in ("frames", "deformation_frames")}
    plain["moved_vertices"] = rng.integers(1, 200, count).astype(float)
    for name in ("non_colliding", "touching_truth", "presence_correct"):
        plain[name] = rng.integers(0, 2, count).astype(float)
    plain["touching_both"] = plain["touching_truth"] * rng.integers(0, 2, count)
    confusion = lambda: Confusion(*(rng.integers(0, 50, count).astype(float) for _ in range(4)))
    histogram = lambda: rng.integers(0, 5, (count, 2, BINS)).astype(float)
    return MetricSums(
        **plain,
        contact_frames=np.ones(count),
        hand_contact=confusion(),
        head_contact=confusion(),
        hand_contact_scores=histogram(),
        head_contact_scores=histogram(),
        **{name: histogram() for name in histograms},
    )


def take(rows: MetricSums, ids: Sequence[int] | np.ndarray) -> MetricSums:
    """The samples `ids`, possibly repeated."""
    return jax.tree.map(lambda x: x[np.asarray(ids)], rows)
