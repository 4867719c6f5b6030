"""A narrow network with random weights, exported as trained weights are."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.body_models import assets
from dice_jax.checkpoints import npz_weights
from dice_jax.models import presets


def save_tiny_weights(folder: Path, seed: int = 0) -> Path:
    """Writes weights of `presets.tiny` without compiling anything."""
    config = ConfigDict({"model": presets.tiny()})
    network = models.ModelConfig.from_dict(config.model)
    module, queries = network.create(assets.load_hand(), assets.load_head())
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), image
    )
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1] in ("scale", "var") or path[1:] == (
            "presence",
            "output",
            "bias",
        ):  # it sees contact
            return np.ones(leaf.shape, np.float32)
        # He's scale: what the image says must reach the output.
        spread = np.sqrt(2.0 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.05
        if path[1] != "backbone" and (
            path[-2] == "output" or leaf.shape[-1] <= 4
        ):  # meters and radians: small numbers
            spread *= 0.02
        values = (spread * rng.standard_normal(leaf.shape)).astype(np.float32)
        if path[1] == "interaction_net" and leaf.shape[-1] == 4:
            values[..., :3] *= 0.005  # the first three are the dent: millimeters
        return values

    flat = {path: draw(path, leaf) for path, leaf in traverse_util.flatten_dict(shapes).items()}
    npz_weights.save_weights(folder, traverse_util.unflatten_dict(flat), config)
    return folder
