"""The open models prepared for the fit, and fits compiled once for one sample."""

import jax
import numpy as np
import pytest
from support import fit_problems
from support.fast_compile import compile_fast

from dice_jax.body_models import assets
from dice_jax.fitting import detector_points, fit


@pytest.fixture(scope="session")
def models():
    return detector_points.prepare(assets.load_hand(), assets.load_head())


@pytest.fixture(scope="session")
def fit_head(models):
    """`fit.fit_heads` of one guess, its points and intrinsics."""
    compiled = []

    def call(*samples):
        arguments = (models, *(fit_problems.stack(sample) for sample in samples))
        if not compiled:
            compiled.append(compile_fast(fit.fit_heads, *arguments))
        return first(compiled[0](*arguments))

    return call


@pytest.fixture(scope="session")
def fit_hand(models):
    """`fit.fit_hands` of one problem.

    Not compiled without optimization, see the tests of `contact`.
    """
    return lambda problem: first(fit.fit_hands(models, fit_problems.stack(problem)))


def first(batch):
    """The first sample of a batch, in NumPy."""
    return jax.tree.map(lambda x: np.asarray(x[0]), batch)
