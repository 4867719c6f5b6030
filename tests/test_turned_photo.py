"""Quarter turns of a photo: detections, meshes, cameras and parameters turn with it."""

import dataclasses

import numpy as np
import pytest
from support.detected_person import MIRROR, SHAPE, detections, left_hand, touching_person

from dice_jax.body_models import assets, flame, mano
from dice_jax.turned_photo import turn_detections, turn_person, turn_pixels

TURNS = (-1, 1, 2, 3, 4, 7)


@pytest.fixture(scope="module")
def models():
    return assets.load_hand(), assets.load_head()


@pytest.fixture(scope="module")
def two_handed():
    """A person with a right and a left hand."""
    person = touching_person()
    return dataclasses.replace(person, hands=(*person.hands, left_hand(person.hands[0])))


def parts(person):
    return [person.head, *person.hands]


@pytest.mark.parametrize("turns", TURNS)
def test_turned_pixels_show_what_they_showed(rng, turns):
    """The color at a pixel is that at the turned pixel of the turned photo."""
    photo = rng.integers(0, 256, (7, 11, 3))
    rows, columns = np.mgrid[:7, :11]
    centers = np.stack([columns, rows], axis=-1) + 0.5
    column, row = np.moveaxis(turn_pixels(centers, turns, (7, 11)) - 0.5, -1, 0).astype(int)
    np.testing.assert_array_equal(np.rot90(photo, turns)[row, column], photo)


def test_four_quarter_turns_of_detections_are_the_identity():
    found, shape = detections(), SHAPE
    for _ in range(4):
        found, shape = turn_detections(found, 1, shape), shape[::-1]
    expected = detections()
    np.testing.assert_allclose(found.face.points, expected.face.points, atol=1e-9)
    np.testing.assert_allclose(found.hands[0].points, expected.hands[0].points, atol=1e-9)
    np.testing.assert_allclose(found.hands[0].world, expected.hands[0].world, atol=1e-12)


@pytest.mark.parametrize("turns", TURNS)
def test_turned_detections_keep_depth_and_show_the_turned_hand(turns):
    """The image axes of the metric hand turn like those of its points."""
    before, after = detections().hands[0], turn_detections(detections(), turns, SHAPE).hands[0]
    np.testing.assert_array_equal(after.points[:, 2], before.points[:, 2])
    np.testing.assert_allclose(after.world[:, 2], before.world[:, 2], atol=1e-12)
    edges = lambda x: (x[1:, :2] - x[0, :2]) @ [1, 1j]  # as complex numbers
    ratio = edges(after.points) / edges(before.points)
    np.testing.assert_allclose(edges(after.world) / edges(before.world), ratio, atol=1e-6)
    np.testing.assert_allclose(ratio, (-1j) ** turns, atol=1e-6)


def test_four_quarter_turns_of_a_person_are_the_identity(two_handed, models):
    turned, shape = two_handed, SHAPE
    for _ in range(4):
        turned, shape = turn_person(turned, 1, shape, *models), shape[::-1]
    for found, expected in zip(parts(turned), parts(two_handed)):
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-6)
        np.testing.assert_allclose(found.keypoints_2d, expected.keypoints_2d, atol=1e-6)
        np.testing.assert_allclose(found.params.transl, expected.params.transl, atol=1e-5)
    np.testing.assert_allclose(turned.crop_box, two_handed.crop_box, atol=1e-9)
    np.testing.assert_allclose(turned.photo_camera.center, two_handed.photo_camera.center)
    np.testing.assert_allclose(turned.photo_camera.transl, two_handed.photo_camera.transl)
    camera = turned.crop_camera
    np.testing.assert_allclose(camera.transl, two_handed.crop_camera.transl, atol=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_parameters_pose_the_turned_vertices(two_handed, models, turns):
    turned = turn_person(two_handed, turns, SHAPE, *models)
    posed = flame.pose_head(models[1], turned.head.params)
    np.testing.assert_allclose(posed.vertices, turned.head.vertices, atol=2e-6)
    for hand, flip in zip(turned.hands, (1.0, MIRROR)):
        posed = mano.pose_hand(models[0], hand.params)
        vertices, keypoints = (np.asarray(x) * flip for x in (posed.vertices, posed.keypoints))
        np.testing.assert_allclose(vertices, hand.vertices, atol=2e-6)
        np.testing.assert_allclose(keypoints, hand.keypoints_3d, atol=2e-6)


@pytest.mark.parametrize("turns", TURNS)
def test_turned_cameras_project_to_the_turned_places(two_handed, models, turns):
    turned = turn_person(two_handed, turns, SHAPE, *models)
    for before, after in zip(parts(two_handed), parts(turned)):
        expected = turn_pixels(before.keypoints_2d, turns, SHAPE)
        np.testing.assert_allclose(after.keypoints_2d, expected, atol=1e-6)
        np.testing.assert_allclose(
            turned.photo_camera.project(after.keypoints_3d), expected, atol=1e-2
        )

        def in_photo(person, points):
            left_top, side = person.crop_box[:2], person.crop_box[2]
            camera = person.crop_camera
            return (camera.scale * points[:, :2] + camera.transl) * side / 224 + left_top

        by_crop = turn_pixels(in_photo(two_handed, before.keypoints_3d), turns, SHAPE)
        np.testing.assert_allclose(in_photo(turned, after.keypoints_3d), by_crop, atol=1e-2)
    left, top, side = turned.crop_box
    middle = two_handed.crop_box[:2] + two_handed.crop_box[2] / 2
    np.testing.assert_allclose([left, top] + side / 2, turn_pixels(middle, turns, SHAPE))


def test_a_turn_keeps_what_lies_on_the_surface(two_handed, models):
    turned = turn_person(two_handed, 1, SHAPE, *models)
    for before, after in zip(parts(two_handed), parts(turned)):
        np.testing.assert_array_equal(after.contact_probs, before.contact_probs)
        np.testing.assert_array_equal(after.keypoints_sigma, before.keypoints_sigma)
    lengths = lambda head: np.linalg.norm(head.deformations, axis=-1)
    np.testing.assert_allclose(lengths(turned.head), lengths(two_handed.head), atol=1e-8)
    nobody = dataclasses.replace(two_handed, head=None, hands=())
    assert turn_person(nobody, 1, SHAPE, *models).head is None
