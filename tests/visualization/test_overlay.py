"""Drawings of a prediction: meshes lie where the camera projects them."""

import dataclasses

import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.visualization import overlay


@pytest.fixture(scope="module")
def drawn(prediction, meshes):
    camera = prediction.camera
    return overlay.render_over_crop(float(camera.scale), np.asarray(camera.transl), meshes)


def test_meshes_cover_their_keypoints(prediction, drawn):
    for keypoints in (prediction.hand_keypoints_2d, prediction.head_keypoints_2d):
        column, row = (np.asarray(keypoints) * overlay.PANEL / CROP_SIZE).astype(int).T
        assert (drawn[row, column, 3] > 0.5).mean() > 0.9


def test_the_overlay_changes_only_pixels_that_the_meshes_cover(rng, drawn):
    photo = rng.integers(0, 256, (300, 400, 3), np.uint8)
    box = CropBox(50, 20, 250)
    left, right = np.split(overlay.crop_and_overlay(photo, box, drawn), 2, axis=1)
    np.testing.assert_array_equal(left, crop.cut(photo, box, overlay.PANEL))
    changed = (left != right).any(axis=-1)
    assert not changed[drawn[..., 3] == 0].any() and changed[drawn[..., 3] > 0.9].mean() > 0.95


@pytest.mark.parametrize(("height", "width"), [(300, 400), (3000, 2400)])
def test_the_meshes_lie_inside_the_crop_box_of_the_whole_photo(drawn, height, width):
    photo = np.zeros((height, width, 3), np.uint8)
    box = CropBox(0.2 * width, 0.3 * height, 0.5 * width)
    image = overlay.photo_overlay(photo, box, drawn)
    shrink = min(1.0, 2048 / max(height, width))
    assert image.shape == (round(height * shrink), round(width * shrink), 3)
    rows, columns = np.nonzero(image.any(axis=-1))
    covered = np.argwhere(drawn[..., 3] > 0.02)[:, ::-1] * CROP_SIZE / overlay.PANEL
    expected = box.to_photo(covered) * shrink
    tolerance = 2.0 + box.size * shrink / overlay.PANEL
    np.testing.assert_allclose([columns.min(), rows.min()], expected.min(axis=0), atol=tolerance)
    np.testing.assert_allclose([columns.max(), rows.max()], expected.max(axis=0), atol=tolerance)


@pytest.fixture(scope="module")
def sheet(meshes):
    return overlay.view_sheet(meshes, "a title")


def test_the_sheet_has_six_different_views(sheet):
    assert sheet.shape == (968, 1376, 3)
    panels = [
        sheet[56 + 456 * row :, 8 + 456 * column :][:448, :448]
        for row in range(2)
        for column in range(3)
    ]
    for panel in panels:
        assert panel.std() > 10  # something is drawn
    differences = [
        np.abs(a.astype(int) - b).mean() for i, a in enumerate(panels) for b in panels[:i]
    ]
    assert min(differences) > 1.0


def test_contact_shows_in_the_contact_views_only_where_there_is_any(meshes, sheet):
    """The reds of the contact ramp appear on face and hand, and disappear without contact."""

    def red_pixels(sheet):
        """Of the two contact views."""
        panels = sheet[512:, 8:456].astype(int), sheet[512:, 464:912].astype(int)
        return np.array([(panel[..., 0] - panel[..., 2] > 100).sum() for panel in panels])

    assert all(mesh.attributes["contact"].max() > 0.5 for mesh in meshes)
    zeros = lambda mesh: {name: np.zeros_like(values) for name, values in mesh.attributes.items()}
    apart = [dataclasses.replace(mesh, attributes=zeros(mesh)) for mesh in meshes]
    # Without contact only the color bar is red.
    without_contact = overlay.view_sheet(apart, "a title")
    assert (red_pixels(without_contact) + 200 < red_pixels(sheet)).all()
