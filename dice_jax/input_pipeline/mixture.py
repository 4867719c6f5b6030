"""Sources made of other sources: a subset of one, or several mixed in fixed shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dice_jax.errors import UserError
from dice_jax.input_pipeline.loader import Sample, Source


class Subset:
    """The samples of a source at some indices, in their order."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "N"]):
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._source[int(self._indices[index])]


class Mixture:
    """Several sources as one, each with its share of an epoch.

    An epoch contains every sample of every source at least once. It repeats the samples of a source
    that is too small for its share. The `has_*` masks of a batch mark the labels that the samples
    of a source lack, see `loader.collate`.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]):
        """Computes how often an epoch uses each source.

        Args:
            sources: at least one, none empty.
            weights: share of each source in an epoch; the sum need not be 1.

        Raises:
            UserError: an empty source, or a weight that is not positive.
        """
        is_valid = len(sources) == len(weights) > 0
        if not is_valid or min(weights) <= 0 or not np.isfinite(weights).all():
            raise UserError(
                f"a mixture needs one positive weight for each of its {len(sources)} data sets, "
                f"not {weights}"
            )
        if min(len(source) for source in sources) == 0:
            raise UserError("a data set of the mixture is empty: prepare it again or leave it out")
        shares = np.asarray(weights, float) / sum(weights)
        sizes = np.array([len(source) for source in sources])
        total = (sizes / shares).max()
        self.counts = np.maximum(np.rint(shares * total).astype(int), sizes)
        self._sources, self._starts = list(sources), np.concatenate([[0], np.cumsum(self.counts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        source = self._sources[number]
        return source[int(index - self._starts[number]) % len(source)]


def evenly_spaced(count: int, size: int) -> Int[np.ndarray, "N"]:
    """At most `size` indices below `count`, as far apart as possible."""
    return np.unique(np.linspace(0, count - 1, min(size, count)).round().astype(int))
