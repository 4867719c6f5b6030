"""Crops: exact where they can be, and the same map for pixels as for points."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dice_jax.geometry import crop
from dice_jax.geometry.crop import CROP_SIZE, CropBox

sides = st.integers(40, 900)


def test_a_crop_at_full_size_is_a_slice(rng):
    image = rng.integers(0, 256, (400, 500, 3), np.uint8)
    np.testing.assert_array_equal(
        crop.cut(image, CropBox(31, 57, CROP_SIZE)), image[57 : 57 + 224, 31 : 31 + 224]
    )


@pytest.mark.parametrize("factor", [2, 3])
def test_whole_factors_average_blocks(rng, factor):
    side = CROP_SIZE * factor
    image = rng.integers(0, 256, (side, side, 3), np.uint8)
    blocks = image.reshape(CROP_SIZE, factor, CROP_SIZE, factor, 3).mean(axis=(1, 3))
    assert np.abs(crop.cut(image, CropBox(0, 0, side)) - blocks).max() <= 0.51


@settings(max_examples=40, deadline=None)
@given(left=st.floats(-150, 250), top=st.floats(-150, 250), size=st.floats(60, 900))
def test_pixels_and_points_move_alike(left, top, size):
    """A picture of its own coordinates, cropped, must hold the coordinates `to_photo` gives for the
    pixel centers.
    """
    height, width = 300, 400
    rows, columns = np.mgrid[:height, :width] + 0.5
    image = np.stack([columns / width, rows / height, np.ones_like(rows)], axis=-1) * 255
    box = CropBox(left, top, size)
    cut = crop.cut(np.rint(image).astype(np.uint8), box).astype(float)
    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    where = box.to_photo(np.stack([columns, rows], axis=-1))
    margin = 2.0 + box.scale
    inner = ((where > margin) & (where < np.array([width, height]) - margin)).all(axis=-1)
    expected = where / [width, height] * 255
    assert np.abs(cut[..., :2] - expected)[inner].max(initial=0.0) < 1.6
    outside = ((where < -margin) | (where > np.array([width, height]) + margin)).any(axis=-1)
    assert (cut[outside] == 124).all()


@given(left=st.floats(-1e3, 1e3), top=st.floats(-1e3, 1e3), size=st.floats(1, 1e4))
def test_to_crop_undoes_to_photo(left, top, size):
    points = np.array([[0.0, 0.0], [224.0, 224.0], [13.5, 200.25]])
    box = CropBox(left, top, size)
    np.testing.assert_allclose(box.to_crop(box.to_photo(points)), points, atol=1e-6)
    np.testing.assert_allclose(
        box.to_photo(points)[:2], [[left, top], [left + size, top + size]], atol=1e-6
    )


@given(height=sides, width=sides)
def test_center_fits_inside_and_full_holds_the_photo(height, width):
    center, full = crop.center_box(height, width), crop.full_box(height, width)
    assert center.size == min(height, width) and full.size == max(height, width)
    for box in (center, full):
        assert box.left + box.size / 2 == width / 2 and box.top + box.size / 2 == height / 2


@given(
    left=st.floats(-500, 500),
    top=st.floats(-500, 500),
    size=st.floats(20, 800),
    height=sides,
    width=sides,
)
def test_inside_stays_in_the_photo_where_it_fits(left, top, size, height, width):
    moved = crop.inside(CropBox(left, top, size), height, width)
    assert moved.size == size
    for start, old, length in ((moved.left, left, width), (moved.top, top, height)):
        if size <= length:
            assert start >= -1e-9 and start + size <= length + 1e-9
            if 0 <= old <= length - size:
                assert start == old
        else:
            assert start + size / 2 == pytest.approx(length / 2)


def test_box_around_holds_every_rectangle(rng):
    corners = rng.uniform(0, 500, (5, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
    box = crop.box_around(boxes, margin=1.2)
    corner = np.array([box.left, box.top])
    assert (boxes[:, :2] >= corner).all() and (boxes[:, 2:] <= corner + box.size).all()
    union = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    assert box.size == pytest.approx(1.2 * union.max())


def test_a_square_beside_the_photo_is_gray(rng):
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    assert (crop.cut(image, CropBox(500, 0, 100)) == 124).all()
    assert (crop.cut(image, CropBox(0, -400, 100)) == 124).all()


def test_shrinking_does_not_alias():
    """Stripes finer than the crop can hold turn into their mean."""
    image = np.zeros((2240, 2240, 3), np.uint8)
    image[:, ::2] = 255
    cut = crop.cut(image, CropBox(0, 0, 2240))
    assert np.abs(cut[2:-2, 2:-2].astype(float) - 127.5).max() < 8
    naive = cv2.resize(image, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_NEAREST)
    assert np.abs(naive.astype(float) - 127.5).max() > 100  # the check can tell
