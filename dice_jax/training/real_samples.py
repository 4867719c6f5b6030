"""The parameters that the discriminators learn to call real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax

from dice_jax.input_pipeline import pose_priors
from dice_jax.structs import HandParams, HeadParams

RealSamples = tuple[HandParams, HeadParams]


def real_samples(
    file: str | Path | None, shares: str, *, seed: int, batch_size: int
) -> Callable[[int], RealSamples | None]:
    """Draws real samples for each update from a file of pose priors.

    Args:
        file: made by `dice_jax.tools.prepare_priors`; None: the labels of each batch are real.
        shares: the config field `data.prior_shares`, such as "decaf:6+freihand:4".
        seed: of the run.
        batch_size: of the global batch.

    Returns:
        From an update, counted from 0, to this process's slice of the global batch of samples; or
        to None where the labels are to be used.

    Raises:
        UserError: the file is damaged, or it has no samples with these shares.
    """
    if file is None:
        return lambda step: None
    priors, weights = pose_priors.load(file), pose_priors.parse_shares(shares)
    size = batch_size // jax.process_count()
    own = slice(jax.process_index() * size, (jax.process_index() + 1) * size)

    def draw(step: int) -> RealSamples:
        return jax.tree.map(lambda x: x[own], priors.draw(seed, step, batch_size, weights))

    draw(0)  # raises now, rather than in the first update, if the shares are wrong
    return draw
