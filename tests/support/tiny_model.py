"""A narrow network with random weights, exported like trained weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.body_models import assets
from dice_jax.checkpoints import npz_weights
from dice_jax.constants import CROP_SIZE
from dice_jax.models import presets

PRESENCE_BIASES = (("presence", "output", "bias"), ("hand_presence", "output", "bias"))
# Fields of the configuration of a network that sees the image alone, and knows no doubt.
IMAGE_ALONE = {"evidence_hidden": 0, "hand_presence": False}


def save_tiny_weights(folder: Path, seed: int = 1, **fields: object) -> Path:
    """Writes random weights for `presets.tiny`, without compiling anything; returns `folder`.

    `fields` of the configuration of the network are changed.

    With seed 0 two tokens are equally near to a third one for the test images, so that rounding
    decides about a feature of the interaction network.
    """
    config = ConfigDict({"model": presets.tiny()})
    config.model.update(fields)
    network = models.ModelConfig.from_dict(config.model)
    module, queries = network.create(assets.load_hand(), assets.load_head())
    image = jax.ShapeDtypeStruct((1, CROP_SIZE, CROP_SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), image
    )
    rng = np.random.default_rng(seed)

    def draw(path, shape):
        if path[-1] in ("scale", "var") or path[1:] in PRESENCE_BIASES:  # predicts contact
            return np.ones(shape, np.float32)
        # He initialization keeps the influence of the image on the output.
        spread = np.sqrt(2.0 / np.prod(shape[:-1])) if len(shape) > 1 else 0.05
        # Outputs are meters and radians, which are small numbers.
        if path[1] != "backbone" and (path[-2] == "output" or shape[-1] <= 4):
            spread *= 0.02
        values = (spread * rng.standard_normal(shape)).astype(np.float32)
        if path[1] == "interaction_net" and shape[-1] == 4:
            values[..., :3] *= 0.005  # the deformation: millimeters
        return values

    flat = {path: draw(path, x.shape) for path, x in traverse_util.flatten_dict(shapes).items()}
    npz_weights.save_weights(folder, traverse_util.unflatten_dict(flat), config)
    return folder
