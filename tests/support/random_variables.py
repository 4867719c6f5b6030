"""Random weights for any module, drawn with NumPy: compiling hundreds of random initializers takes
minutes.
"""

import jax
import jax.numpy as jnp
import numpy as np


def draw(shapes, rng):
    """Weights of the scale that keeps activations alive, for a tree of anything with a shape."""

    def leaf(path, x):
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.7, 1.3, x.shape), jnp.float32)
        spread = 1.0 / np.sqrt(np.prod(x.shape[:-1])) if x.ndim > 1 else 0.05
        return jnp.asarray(spread * rng.standard_normal(x.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def init(module, rng, *args, **kwargs):
    """Random variables of any module, nothing compiled."""
    return draw(
        jax.eval_shape(lambda: module.init({"params": jax.random.key(0)}, *args, **kwargs)), rng
    )
