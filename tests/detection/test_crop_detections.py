"""Detections in a crop: in its pixels, wherever it lies, and zeros for what is not there."""

import numpy as np

from dice_jax.constants import CROP_SIZE
from dice_jax.detection import crop_detections
from dice_jax.detection.people import find_people
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox


def test_points_lie_at_the_same_places_of_the_cut_crop(scene):
    (person,) = find_people(scene)
    (hand,) = person.hands
    box = CropBox(-20.0, 10.0, 1.3 * len(scene))
    found = crop_detections.in_crop(person.face, hand, box)
    for points, part in ((found.face_points, person.face), (found.hand_points, hand)):
        np.testing.assert_allclose(box.to_photo(points[:, :2]), part.points[:, :2], atol=1e-3)
        np.testing.assert_allclose(points[:, 2] * box.scale, part.points[:, 2], atol=1e-4)
        np.testing.assert_allclose(points[:, 3], part.score)
    np.testing.assert_allclose(found.hand_world, hand.world)
    nothing = crop_detections.in_crop(None, None, box)
    assert not any(np.any(part) for part in (nothing.hand_points, nothing.face_points))


def test_a_picture_of_any_size_has_the_detections_of_its_crop(scene):
    box = crop.center_box(*scene.shape[:2])
    for size in (CROP_SIZE, 2 * CROP_SIZE):
        picture = crop.cut(scene, box, size)
        (person,) = find_people(picture)
        found = crop_detections.detect(picture)
        scale = CROP_SIZE / size
        np.testing.assert_allclose(found.face_points[:, :3], scale * person.face.points, rtol=1e-5)
        np.testing.assert_allclose(
            found.hand_points[:, :3], scale * person.hands[0].points, rtol=1e-5
        )


def test_only_a_right_hand_is_detected(scene):
    mirrored = np.ascontiguousarray(scene[:, ::-1])
    found = crop_detections.detect(mirrored)
    assert found.face_points[:, 3].all() and not found.hand_points.any()
    assert not found.hand_world.any()
