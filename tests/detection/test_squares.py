"""Rotated squares: what is cut out of a photo, and where it is."""

import numpy as np
import pytest

from dice_jax.detection.squares import Pyramid, Square, around_photo


def photo_of_dot(x, y, deviation, height=300, width=400):
    rows, columns = np.mgrid[:height, :width] + 0.5
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * deviation**2))
    return np.repeat((255 * dot).astype(np.uint8)[..., None], 3, -1)


def center_of(pixels):
    rows, columns = np.mgrid[: len(pixels), : len(pixels)] + 0.5
    weights = pixels[..., 0].astype(float)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("side", "size"), [(120.0, 192), (150.0, 60), (200.0, 24)])
def test_a_dot_of_the_photo_is_where_the_square_maps_it(side, size, mirrored):
    photo = Pyramid(photo_of_dot(210.3, 140.8, 6.0))
    square = Square(np.array([200.0, 150.0]), side, 0.6, mirrored)
    seen = center_of(photo.cut(square, size, replicate=True))
    np.testing.assert_allclose(square.to_photo(seen, size), [210.3, 140.8], atol=0.01 * side)


def test_a_mirrored_square_shows_the_mirror_image(rng):
    photo = Pyramid(rng.integers(0, 256, (64, 64, 3), np.uint8))
    square = Square(np.array([32.0, 32.0]), 64.0)
    mirrored = Square(square.center, square.side, mirrored=True)
    np.testing.assert_array_equal(photo.cut(mirrored, 64)[:, ::-1], photo.cut(square, 64))


def test_the_axes_are_those_of_the_map(rng):
    square = Square(rng.normal(size=2), 224.0, 0.7, True)
    np.testing.assert_allclose(square.matrix(224)[:, :2], square.axes())
    np.testing.assert_allclose(square.axes() @ square.axes().T, np.eye(2), atol=1e-12)
    assert np.linalg.det(square.axes()) == pytest.approx(-1)


def test_fine_stripes_become_gray_in_a_small_copy():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 254
    small = Pyramid(stripes).cut(around_photo(512, 512), 32)
    assert np.abs(small.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (3, 70)])
def test_tiny_photos_have_a_content(shape):
    photo = Pyramid(np.full((*shape, 3), 124, np.uint8))
    assert (photo.cut(around_photo(*shape), 16) == 124).all()
