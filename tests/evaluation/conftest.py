"""Five random samples with their ground truth, shared by the tests of whole evaluations."""

import jax
import numpy as np
import pytest
from support import micro_run

from dice_jax import models
from dice_jax.body_models import assets
from dice_jax.evaluation import reference_predictions
from dice_jax.input_pipeline import loader, schema

SIZE, BATCH = 5, 8  # the batch is ragged, and eight virtual devices share it


@pytest.fixture(scope="session")
def bodies():
    return assets.load_hand(), assets.load_head()


@pytest.fixture(scope="session")
def source(bodies):
    """The hands are moved in front of the face: one apart, one at the skin, three deeper inside."""
    samples = [micro_run.sample(i) for i in range(SIZE)]
    batch = loader.collate([schema.decode(sample) for sample in samples])
    hands = np.asarray(models.pose_targets(batch, *bodies).hand_vertices)
    for sample, hand, distance in zip(samples, hands, (0.25, 0.16, 0.13, 0.11, 0.05)):
        sample["hand_transl"] = np.float32(sample["hand_transl"] - hand.mean(0) - [0, 0, distance])
    return samples


@pytest.fixture(scope="session")
def read_batches(source):
    """Reads all samples, or `samples`, in batches."""
    return lambda size=BATCH, samples=source: loader.sequential_batches(samples, size)


@pytest.fixture(scope="session")
def perfect(bodies):
    """Predicts the ground truth."""
    return jax.jit(lambda batch: reference_predictions.true_prediction(batch, *bodies))


@pytest.fixture(scope="session")
def mean(read_batches, bodies):
    return reference_predictions.mean_prediction(read_batches(), *bodies)


@pytest.fixture(scope="session")
def whole(read_batches, bodies, perfect):
    """All samples in one batch: (perfect prediction, targets, batch)."""
    ((batch, _),) = read_batches(SIZE)
    return *jax.device_get((perfect(batch), models.pose_targets(batch, *bodies))), batch
