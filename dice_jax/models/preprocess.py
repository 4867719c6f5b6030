"""Normalization of an image before the network."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.array_types import Array

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


def preprocess(
    images: UInt8[Array, "*B H W 3"] | Float[Array, "*B H W 3"],
) -> Float[Array, "*B H W 3"]:
    """Normalizes each channel with ImageNet's mean and deviation.

    Args:
        images: RGB, uint8 or float in [0, 1].
    """
    scale = 255.0 if images.dtype == jnp.uint8 else 1.0
    return _normalize(images.astype(jnp.float32) / scale)


def rgb_to_bgr(normalized: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """The output of `preprocess` for the image with its channels in the order BGR.

    The authors normalize blue by the mean and deviation of red, and red by those of blue.
    """
    rgb = normalized * _like(IMAGENET_STD, normalized) + _like(IMAGENET_MEAN, normalized)
    return _normalize(rgb[..., ::-1])


def _normalize(images):
    return (images - _like(IMAGENET_MEAN, images)) / _like(IMAGENET_STD, images)


def _like(channels, images):
    return jnp.broadcast_to(channels, images.shape)
