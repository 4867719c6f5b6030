"""Drawings of a prediction: meshes lie where the camera projects them."""

import dataclasses

import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.visualization import overlay


@pytest.fixture(scope="module")
def drawn(person, meshes):
    return overlay.render_over_crop(person, meshes)


def test_meshes_cover_their_keypoints(person, drawn):
    box = CropBox(*person.crop_box)
    for part in (person.head, *person.hands):
        pixels = box.to_crop(part.keypoints_2d) * overlay.PANEL / CROP_SIZE
        column, row = pixels.astype(int).T
        assert (drawn[row, column, 3] > 0.5).mean() > 0.9


@pytest.mark.parametrize("fitted", [True, False])
def test_meshes_are_drawn_where_their_camera_sees_them(person, meshes, fitted):
    """The extent of the drawing is that of the projected vertices.

    Near to the camera, where a pinhole enlarges, and the network's orthography does not.
    """
    box = CropBox(*person.crop_box)
    project = person.photo_camera.project
    if not fitted:
        unfitted = lambda part: dataclasses.replace(part, residual=np.nan)
        hands = tuple(map(unfitted, person.hands))
        person = dataclasses.replace(person, head=unfitted(person.head), hands=hands)
        camera = person.crop_camera
        project = lambda points: box.to_photo(camera.scale * points[:, :2] + camera.transl)
    for mesh in meshes:
        near = dataclasses.replace(mesh, vertices=mesh.vertices + np.float32([0, 0, -0.2]))
        alpha = overlay.render_over_crop(person, [near])[..., 3]
        rows, columns = np.nonzero(alpha > 0.5)
        pixels = box.to_crop(project(near.vertices))
        pixels = np.clip(pixels * overlay.PANEL / CROP_SIZE, 0, overlay.PANEL)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        np.testing.assert_allclose([columns.min(), rows.min()], low, atol=8)
        np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high, atol=8)


@pytest.mark.parametrize("enlarge", [1.0, 4.0])
def test_meshes_lie_over_the_frame_where_the_person_is(person, meshes, enlarge):
    """In a small frame, and in one whose meshes are rendered smaller than they are shown."""
    camera = dataclasses.replace(
        person.photo_camera,
        focal_length=person.photo_camera.focal_length * enlarge,
        center=person.photo_camera.center * enlarge,
    )
    person = dataclasses.replace(person, photo_camera=camera)
    frame = np.zeros((int(400 * enlarge), int(600 * enlarge), 3), np.uint8)
    drawn = overlay.over_frame(frame, person, meshes)
    assert drawn.shape == frame.shape and not frame.any()
    pixels = np.concatenate([person.project(mesh.vertices) for mesh in meshes])
    rows, columns = np.nonzero(drawn.any(axis=-1))
    low, high = np.clip([pixels.min(0), pixels.max(0)], 0, frame.shape[1::-1])
    tolerance = 2.5 * enlarge
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=tolerance)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high, atol=tolerance)
    points = np.concatenate([part.keypoints_3d for part in (person.head, *person.hands)])
    column, row = person.project(points).astype(int).T
    assert drawn[row, column].any(axis=-1).mean() > 0.9


def test_a_person_outside_of_the_frame_changes_nothing(person, meshes):
    camera = dataclasses.replace(person.photo_camera, center=np.array([9e3, 9e3]))
    frame = np.full((50, 60, 3), 7, np.uint8)
    away = dataclasses.replace(person, photo_camera=camera)
    np.testing.assert_array_equal(overlay.over_frame(frame, away, meshes), frame)


def test_blending_mixes_in_srgb_and_keeps_the_rest(rng):
    background = rng.integers(0, 256, (40, 60, 3), np.uint8)
    drawn = rng.random((40, 60, 4), np.float32)
    drawn[:20, :, 3] = 0
    alpha = 0.8 * drawn[..., 3:]
    mixed = alpha * drawn[..., :3] * 255 + (1 - alpha) * background
    blended = overlay.blend(background, drawn, 0.8)
    assert np.abs(blended - mixed).max() < 1.1
    np.testing.assert_array_equal(blended[:20], background[:20])


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


@pytest.mark.parametrize("kept", [slice(0, 1), slice(1, 2)], ids=["hand", "head"])
def test_a_hand_or_a_head_alone_has_the_three_views_of_everything(meshes, kept):
    sheet = overlay.view_sheet(meshes[kept], "a title")
    assert sheet.shape == (512, 1376, 3)
    assert all(sheet[56:, left:][:448, :448].std() > 5 for left in (8, 464, 920))


def test_two_hands_are_drawn_and_the_one_that_touches_more_is_shown(meshes):
    hand, head = meshes
    right = dataclasses.replace(hand, name="right_hand")
    left = dataclasses.replace(
        hand,
        name="left_hand",
        vertices=hand.vertices * np.float32([-1, 1, 1]),
        faces=hand.faces[:, ::-1],
        attributes={"contact": 0.3 * hand.attributes["contact"]},
    )
    both = overlay.view_sheet([right, left, head], "a title")
    alone = overlay.view_sheet([right, head], "a title")
    touching = np.s_[512:, 464:912]
    np.testing.assert_array_equal(both[touching], alone[touching])
    assert (both != alone).any()


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
