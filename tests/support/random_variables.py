"""Random weights for any module, drawn with NumPy.

Compiling hundreds of random initializers would take minutes.
"""

import jax
import jax.numpy as jnp
import numpy as np


def draw(shapes, rng):
    """Weights whose scale keeps the activations of order one.

    Args:
        shapes: a tree of anything with a shape.
        rng: NumPy's generator.
    """

    def weight(path, x):
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.7, 1.3, x.shape), jnp.float32)
        spread = 1.0 / np.sqrt(np.prod(x.shape[:-1])) if x.ndim > 1 else 0.05
        return jnp.asarray(spread * rng.standard_normal(x.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(weight, shapes)


def init(module, rng, *args, **kwargs):
    """Random variables of a module for the arguments of its call, without compiling anything."""
    create = lambda: module.init({"params": jax.random.key(0)}, *args, **kwargs)
    return draw(jax.eval_shape(create), rng)
