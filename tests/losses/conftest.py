import numpy as np
import pytest
from support import loss_scenes

from dice_jax.body_models import assets


@pytest.fixture(scope="session")
def hand_model():
    return assets.load_hand()


@pytest.fixture(scope="session")
def head_model():
    return assets.load_head()


@pytest.fixture(scope="session")
def labels(hand_model, head_model):
    """(batch, targets, camera) of eight samples that carry every label."""
    return loss_scenes.random_labels(np.random.default_rng(0), hand_model, head_model, 8)
