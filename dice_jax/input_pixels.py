"""Crops in whatever type a user has them, as pixels of a known scale, or one line on why not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dice_jax.constants import CROP_SIZE

_OVERSHOOT = 0.1  # beyond [0, 1], which resizing makes


def checked_images(images: Any) -> Any:
    """Crops as uint8, or as floats in [0, 1].

    Whole numbers from 0 to 255 in a wider type, and floats that are whole numbers of that range,
    are converted; whatever could mean two things is refused. Under a JAX transformation, where
    values are unknown, the type alone is checked.

    Args:
        images: (*B, 224, 224, 3), RGB: an array, or nested lists.

    Returns:
        An array of that shape, uint8 or floating point.

    Raises:
        ValueError: another shape, no image, another type, or values of an unknown scale; one line.
    """
    if not isinstance(images, np.ndarray | jax.Array | jax.ShapeDtypeStruct):
        try:
            images = np.asarray(images)
        except ValueError:
            raise ValueError("images of different shapes: stack them into one array") from None
    shape, kind = tuple(images.shape), jnp.dtype(images.dtype)
    if shape[-3:] != (CROP_SIZE, CROP_SIZE, 3):
        hint = ": move the channels to the last axis" if shape[-3:-2] == (3,) else ""
        raise ValueError(
            f"images must be (..., {CROP_SIZE}, {CROP_SIZE}, 3) RGB crops, got shape {shape}{hint}"
        )
    if 0 in shape:
        raise ValueError(f"no images: the batch of shape {shape} is empty")
    if kind == np.uint8:
        return images
    is_float, is_integer = jnp.issubdtype(kind, jnp.floating), jnp.issubdtype(kind, jnp.integer)
    if not is_float and not is_integer:
        raise ValueError(f"images of type {kind}: give uint8, or floats in [0, 1]")
    if isinstance(images, Tracer):
        if is_integer:
            raise ValueError(f"images of type {kind} under a transformation: give uint8")
        return images
    return _scaled(images, kind, is_float)


def _scaled(images: Any, kind: Any, is_float: bool) -> Any:
    numbers: Any = np if isinstance(images, np.ndarray) else jnp
    finite = numbers.isfinite(images) if is_float else numbers.ones(1, bool)
    known = numbers.where(finite, images, 0) if is_float else images
    low, high = float(known.min()), float(known.max())
    if is_float and low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return images
    whole = not is_float or bool((known == numbers.rint(known)).all())
    # A dark picture of 16 bits has such values too, and so has a mask of zeros and ones.
    certain = whole and 1 < high <= 255 and low >= 0 and kind != np.uint16
    black = not is_float and low == high == 0
    if not certain and not black:
        raise ValueError(
            f"images of type {kind} with values from {low:g} to {high:g}: give uint8, "
            "or floats in [0, 1]"
        )
    return images / images.dtype.type(255) if is_float else images.astype(np.uint8)
