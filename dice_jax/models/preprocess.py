"""What happens to a picture before the network sees it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.array_types import Array

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


def preprocess(
    images: UInt8[Array, "*B 224 224 3"] | Float[Array, "*B 224 224 3"],
) -> Float[Array, "*B 224 224 3"]:
    """RGB, uint8 or float in [0, 1], to ImageNet's mean 0 and deviation 1 in each channel."""
    scale = 255.0 if images.dtype == jnp.uint8 else 1.0
    return (images.astype(jnp.float32) / scale - IMAGENET_MEAN) / IMAGENET_STD


def rgb_to_bgr(normalized: Float[Array, "*B 224 224 3"]) -> Float[Array, "*B 224 224 3"]:
    """What `preprocess` would have made of a BGR picture: the authors normalize blue by the mean
    and deviation of red.
    """
    rgb = normalized * IMAGENET_STD + IMAGENET_MEAN
    return (rgb[..., ::-1] - IMAGENET_MEAN) / IMAGENET_STD
