"""The card of a split counts what is in it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.tools import data_card
from dice_jax.tools.data_card import Statistics


def sample(kind, touched, detected, yaw=0.0):
    """A decoded sample whose face looks `yaw` degrees to the person's left."""
    hand_contact = np.zeros(NUM_HAND_VERTICES, np.uint8)
    head_contact = np.zeros(NUM_HEAD_VERTICES, np.uint8)
    hand_contact[touched], head_contact[touched] = 1, 1
    deformations = np.zeros((NUM_HEAD_VERTICES, 3), np.float32)
    deformations[touched] = [0.0, 0.0, 0.004]
    points = np.zeros((21, 4), np.float32)
    points[:, 3] = detected
    # Turned about the vertical axis after it faces the camera.
    half, turn = np.pi, np.radians(yaw)
    return dict(
        kind=kind,
        gesture="point",
        hand_contact=hand_contact,
        head_contact=head_contact,
        deformations=deformations,
        hand_present=np.array([1.0, 0.0]),
        hand_visibility=np.array([0.8, 0.0]),
        hand_keypoints_2d=np.column_stack([np.linspace(10, 60, 21), np.ones((21, 2))]),
        detected_hand_points=points,
        focal_length=np.float32(112.0),
        head_global_orient=rotvec(half, turn),
        attempts=3,
    )


def rotvec(about_x, about_y):

    return (
        Rotation.from_rotvec([about_x, 0, 0]) * Rotation.from_rotvec([0, about_y, 0])
    ).as_rotvec()


@pytest.fixture
def statistics():
    statistics = Statistics()
    for args in (("touch", [5, 7], 1, 30), ("touch", [5], 0, 30), ("near", [], 1, 30)):
        statistics.add(sample(*args))
    return statistics


def test_samples_are_counted(statistics):
    assert statistics.counts["kind"] == {"touch": 2, "near": 1}
    assert statistics.counts["touch"] == {"hand and face touch": 2, "no touch": 1}
    assert statistics.hand_contact[[5, 6, 7]].tolist() == [2, 0, 1]
    assert statistics.head_contact.sum() == 3


def test_values_have_their_units(statistics):
    values = statistics.values
    np.testing.assert_allclose(values["deepest dent (mm)"], 4.0, rtol=1e-5)
    np.testing.assert_allclose(values["field of view of the crop (degrees)"], 90.0)
    np.testing.assert_allclose(values["yaw of the head (degrees)"], 30.0, atol=1e-4)
    np.testing.assert_allclose(values["pitch of the head (degrees)"], 0.0, atol=1e-4)
    np.testing.assert_allclose(values["extent of the hand (pixels of the crop)"], 50.0)


def test_the_card_names_counts_shares_and_detections(statistics):
    text = data_card.card(statistics, "a title")
    assert text.startswith("# a title")
    assert "| touch | 2 | 66.7% |" in text and "| hand | 3 | 66.7% |" in text


def test_the_map_shows_the_vertices_in_contact(statistics):
    sheet = data_card.contact_sheet(statistics, "a title")
    assert sheet.dtype == np.uint8 and sheet.shape[1] > 1200
    statistics.head_contact[:] = 2
    assert np.abs(data_card.contact_sheet(statistics, "a title").astype(int) - sheet).max() > 50
