"""The detectors on a portrait at any place and size, on renderings, and on empty images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import dice_jax
from dice_jax.detection import face_and_hand
from dice_jax.geometry import crop
from dice_jax.io import images

SAMPLES = Path(dice_jax.__file__).parent / "samples"
NOSE = np.array([206.0, 138.0])  # of the astronaut, pixels, located by eye


@pytest.fixture(scope="module")
def portrait():
    return images.read_image(SAMPLES / "astronaut.jpg")


def test_the_portrait_has_a_face_and_no_hand(portrait):
    found = face_and_hand.find(portrait)
    assert found.hand is None
    left, top, right, bottom = found.face
    assert left < NOSE[0] < right and top < NOSE[1] < bottom
    assert found.box.left >= 0 and found.box.top >= 0


@pytest.mark.parametrize(("scale", "left", "top"), [(1.0, 700, 100), (0.6, 40, 500), (2.5, 0, 300)])
def test_the_box_follows_the_face(portrait, scale, left, top):
    """The portrait is pasted at several places and sizes, some of which need the tiles."""
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    photo = np.full((1400, 1800, 3), 200, np.uint8)
    photo[top : top + len(small), left : left + len(small[0])] = small
    found = face_and_hand.find(photo)
    reference = face_and_hand.find(portrait)
    center = lambda face: (face[:2] + face[2:]) / 2
    expected = center(reference.face) * scale + [left, top]
    side = scale * (reference.face[2] - reference.face[0])
    assert np.abs(center(found.face) - expected).max() < 0.12 * side
    assert found.face[2] - found.face[0] == pytest.approx(side, rel=0.2)


def test_without_detections_the_center_is_cropped(rng):
    gray = np.full((300, 500, 3), 128, np.uint8)
    noise = rng.integers(0, 256, (300, 500, 3), np.uint8)
    for photo in (gray, noise):
        found = face_and_hand.find(photo)
        assert found.face is None and found.hand is None
        assert found.box == crop.center_box(300, 500)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("scene_*.jpg")), ids=lambda path: path.stem)
def test_face_and_hand_of_the_sample_scenes_are_detected(path):
    photo = images.read_image(path)
    for shift in (0, 150):  # alone, and as a part of a larger photo
        widths = ((shift, shift), (shift, 2 * shift), (0, 0))
        found = face_and_hand.find(np.pad(photo, widths, constant_values=180))
        assert found.face is not None and found.hand is not None
        assert found.box.size >= crop.box_around(np.stack([found.face, found.hand])).size


@pytest.mark.parametrize(("size", "count"), [(128, 896), (192, 2016)])
def test_there_is_an_anchor_for_each_output_of_the_networks(size, count):
    anchors = face_and_hand.anchors(size)
    assert anchors.shape == (count, 2) and anchors.min() > 0 and anchors.max() < 1
    np.testing.assert_allclose(anchors.mean(axis=0), 0.5, atol=1e-9)
