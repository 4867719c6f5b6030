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


class OnFirstCall:
    """A function of samples without batch dimension, compiled for the shapes of its first call."""

    def __init__(self, function, models):
        self._function, self._models, self._compiled = function, models, None

    def __call__(self, *samples):
        arguments = (self._models, *(fit_problems.stack(sample) for sample in samples))
        if self._compiled is None:
            self._compiled = compile_fast(self._function, *arguments)
        return jax.tree.map(lambda x: np.asarray(x[0]), self._compiled(*arguments))


@pytest.fixture(scope="session")
def fit_head(models):
    """`fit.fit_heads` of one guess, its points and intrinsics."""
    return OnFirstCall(fit.fit_heads, models)


@pytest.fixture(scope="session")
def fit_hand(models):
    """`fit.fit_hands` of one problem."""
    return OnFirstCall(fit.fit_hands, models)
