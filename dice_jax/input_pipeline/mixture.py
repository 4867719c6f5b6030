"""Sources made of other sources: a part of one, or several in fixed shares. Both are read in any
order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dice_jax.errors import UserError
from dice_jax.input_pipeline.loader import Sample, Source


class Subset:
    """The samples of a source at some places, in their order."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "N"]):
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._source[int(self._indices[index])]


class Mixture:
    """Several sources as one, in which each has its share.

    An epoch holds every sample of every source at least once, and those of a source that is small
    for its share as often as the share asks. What a sample lacks of another source's labels shows
    in its `has_*` masks, see `loader.collate`.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]):
        """Prepares to read.

        Args:
            sources: at least one, none empty.
            weights: share of each in an epoch; they need not sum to 1.

        Raises:
            UserError: an empty source, or weights that are not positive.
        """
        if (
            len(sources) != len(weights)
            or not sources
            or min(weights) <= 0
            or not np.isfinite(weights).all()
        ):
            raise UserError(
                f"a mixture needs one positive weight for each of its {len(sources)} data sets, not {weights}"
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
    """At most `size` places among `count`, as far apart as they can be."""
    return np.unique(np.linspace(0, count - 1, min(size, count)).round().astype(int))
