"""The normalization of images for the backbone."""

import numpy as np
from support import micro_run

from dice_jax import models
from dice_jax.constants import CROP_SIZE
from dice_jax.input_pipeline import loader, schema


def test_loaded_images_reach_the_network_in_rgb_order():
    """The authors' loaders give BGR images to a backbone that is normalized for RGB."""
    red = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    red[..., 0] = 255
    sample = schema.decode(schema.encode({**micro_run.sample(0), "image": red}))
    batch = loader.Loader([sample], 1, seed=0).batch(0)
    mean = np.asarray(models.preprocess(batch.images))[0].mean((0, 1))
    expected = (np.array([1.0, 0.0, 0.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(mean, expected, atol=0.05)
