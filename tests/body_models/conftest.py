"""The open models and random parameters."""

import jax.numpy as jnp
import pytest

from dice_jax.body_models import load_hand, load_head
from dice_jax.structs import HandParams, HeadParams

HAND_SIZES = dict(betas=10, global_orient=3, hand_pose=45, transl=3)
HEAD_SIZES = dict(betas=100, expression=50, global_orient=3, neck_pose=3, jaw_pose=3, transl=3)


@pytest.fixture(scope="session")
def hand():
    return load_hand()


@pytest.fixture(scope="session")
def head():
    return load_head()


@pytest.fixture(params=["hand", "head"])
def model(request):
    """Each of the two models in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def random_hand(rng):
    """Function that draws the parameters of 100 hands; a keyword fixes one of them."""
    return lambda **fixed: HandParams(**_draw(rng, HAND_SIZES, fixed))


@pytest.fixture
def random_head(rng):
    """Function that draws the parameters of 100 heads; a keyword fixes one of them."""
    return lambda **fixed: HeadParams(**_draw(rng, HEAD_SIZES, fixed))


def _draw(rng, sizes, fixed):
    """One batch size for all tests, which share one compilation."""
    values = {
        name: fixed.get(name, rng.normal(0, 0.5, (100, size))) for name, size in sizes.items()
    }
    return {
        name: jnp.broadcast_to(jnp.asarray(value, jnp.float32), (100, sizes[name]))
        for name, value in values.items()
    }
