"""Crops of every type are converted where their scale is certain, and refused where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.input_pixels import checked_images


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, 224, 224, 3), np.uint8)


def test_numbers_of_a_certain_scale_are_converted(images):
    for same in (
        images.astype(np.int32),
        images.astype(np.int64),
        images.astype(np.float32),
        images.astype(np.float64),
        images.tolist(),
        list(images),
        jnp.asarray(images, jnp.int32),
        jnp.asarray(images, jnp.float32),
    ):
        checked = np.asarray(checked_images(same))
        scale = 255.0 if checked.dtype.kind == "f" else 1
        np.testing.assert_allclose(checked * scale, images, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.astype(np.uint16),  # a dark picture of 16 bits?
        lambda x: x.astype(np.uint16) * 257,
        lambda x: x.astype(np.int32) * 2,
        lambda x: x.astype(np.int16) - 128,
        lambda x: (x > 127).astype(np.int32),
        lambda x: x > 127,
        lambda x: x.astype(np.float32) / 127.5 - 1,
        lambda x: x.astype(np.float32) / 2 + 0.25,
        lambda x: x.astype(np.float32) * 4,
        lambda x: x.astype(complex),
        lambda x: x.astype(object),
        lambda x: x.astype(str),
        lambda x: x[:0],
        lambda x: x[..., :0],
        lambda x: np.moveaxis(x, -1, 1),
        lambda x: x[..., :2],
        lambda x: [x[0], x[0, :100]],
        lambda x: [],
        lambda x: "photo.jpg",
        lambda x: None,
    ],
)
def test_what_has_no_certain_scale_is_one_line(images, make):
    with pytest.raises(ValueError, match="images") as caught:
        checked_images(make(images))
    assert "\n" not in str(caught.value)


def test_right_images_are_handed_on(images):
    assert checked_images(images) is images
    for floats in (images / 255.0, np.float32(images) / 255, np.full_like(images, np.nan, float)):
        assert checked_images(floats) is floats
    # Resizing overshoots a little, and black is black in every scale.
    assert checked_images(images / 255.0 * 1.05) is not None
    assert not checked_images(np.zeros_like(images, np.int64)).any()


def test_values_are_unknown_under_a_transformation(images):
    jax.jit(checked_images)(images)
    jax.jit(checked_images)(images / np.float32(255))
    with pytest.raises(ValueError, match="images of type int32 under a transformation"):
        jax.jit(checked_images)(images.astype(np.int32))
