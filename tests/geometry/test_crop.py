"""Crops: exact where possible, and with the same map for pixels as for points."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox

sides = st.integers(40, 900)


def test_a_crop_at_scale_one_is_a_slice(rng):
    image = rng.integers(0, 256, (400, 500, 3), np.uint8)
    found = crop.cut(image, CropBox(31, 57, CROP_SIZE))
    np.testing.assert_array_equal(found, image[57 : 57 + 224, 31 : 31 + 224])


@pytest.mark.parametrize("factor", [2, 3])
def test_whole_scale_factors_average_blocks(rng, factor):
    side = CROP_SIZE * factor
    image = rng.integers(0, 256, (side, side, 3), np.uint8)
    blocks = image.reshape(CROP_SIZE, factor, CROP_SIZE, factor, 3).mean(axis=(1, 3))
    assert np.abs(crop.cut(image, CropBox(0, 0, side)) - blocks).max() <= 0.51


@settings(max_examples=40, deadline=None)
@given(left=st.floats(-150, 250), top=st.floats(-150, 250), size=st.floats(60, 900))
def test_pixels_and_points_have_the_same_map(left, top, size):
    """An image of its own coordinates contains, once cropped, those of `to_photo`."""
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
def test_to_crop_inverts_to_photo(left, top, size):
    points = np.array([[0.0, 0.0], [224.0, 224.0], [13.5, 200.25]])
    box = CropBox(left, top, size)
    np.testing.assert_allclose(box.to_crop(box.to_photo(points)), points, atol=1e-6)
    corners = [[left, top], [left + size, top + size]]
    np.testing.assert_allclose(box.to_photo(points)[:2], corners, atol=1e-6)


@given(height=sides, width=sides)
def test_center_box_fits_inside_the_photo_and_full_box_contains_it(height, width):
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
def test_move_inside_moves_a_square_into_the_photo_if_it_fits(left, top, size, height, width):
    moved = crop.move_inside(CropBox(left, top, size), height, width)
    assert moved.size == size
    for start, old, length in ((moved.left, left, width), (moved.top, top, height)):
        if size <= length:
            assert start >= -1e-9 and start + size <= length + 1e-9
            if 0 <= old <= length - size:
                assert start == old
        else:
            assert start + size / 2 == pytest.approx(length / 2)


def test_box_around_contains_every_rectangle(rng):
    corners = rng.uniform(0, 500, (5, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
    box = crop.box_around(boxes, margin=1.2)
    corner = np.array([box.left, box.top])
    assert (boxes[:, :2] >= corner).all() and (boxes[:, 2:] <= corner + box.size).all()
    union = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    assert box.size == pytest.approx(1.2 * union.max())


def test_a_square_outside_the_photo_is_gray(rng):
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    assert (crop.cut(image, CropBox(500, 0, 100)) == 124).all()
    assert (crop.cut(image, CropBox(0, -400, 100)) == 124).all()


def test_shrinking_does_not_alias():
    """Stripes finer than the pixels of the crop become their mean."""
    image = np.zeros((2240, 2240, 3), np.uint8)
    image[:, ::2] = 255
    cut = crop.cut(image, CropBox(0, 0, 2240))
    assert np.abs(cut[2:-2, 2:-2].astype(float) - 127.5).max() < 8
    naive = cv2.resize(image, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_NEAREST)
    assert np.abs(naive.astype(float) - 127.5).max() > 100  # otherwise this test could not fail
