"""The body models, and a tiny network with random weights, made once."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.body_models import load_hand, load_head
from dice_jax.models import create_model, presets


@pytest.fixture(scope="session")
def bodies():
    return load_hand(), load_head()


@pytest.fixture(scope="session")
def network(bodies):
    """(module, queries, variables) of the tiny preset."""
    module, queries = create_model(presets.tiny(), *bodies)
    images = jnp.zeros((1, 224, 224, 3))
    return module, queries, init(module, np.random.default_rng(7), images, queries, train=False)
