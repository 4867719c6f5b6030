"""The same squares as in MediaPipe's own graph give MediaPipe's own answers; see data/README.md."""

from pathlib import Path

import numpy as np
import pytest
from detection.conftest import SAMPLES, SCENES

from dice_jax.detection import face_mesh, hand_landmarks, single_shot
from dice_jax.detection.squares import Pyramid, around_photo
from dice_jax.io import images

ANSWERS = Path(__file__).parent / "data" / "mediapipe_answers.npz"


@pytest.fixture(scope="module")
def answers():
    with np.load(ANSWERS) as file:
        return dict(file)


def open_photo(name):
    pixels = images.read_image(SAMPLES / f"{name}.jpg")
    return Pyramid(pixels), around_photo(*pixels.shape[:2])


@pytest.mark.parametrize("name", ["astronaut", *SCENES])
def test_face(answers, name):
    photo, whole = open_photo(name)
    square = face_mesh.square_around_box(single_shot.faces(photo, whole)[0])
    face = face_mesh.find(photo, square, passes=1)
    error = np.abs(face.points - answers[f"{name}/face"]).mean(0) / face_mesh.size(face)
    assert error.max() < 0.01


@pytest.mark.parametrize("name", SCENES)
def test_hand(answers, name):
    photo, whole = open_photo(name)
    square = hand_landmarks.square_around_palm(single_shot.palms(photo, whole)[0])
    hand = hand_landmarks.find(photo, square)
    expected = answers[f"{name}/hand"]
    expected = expected - np.array([0, 0, expected[0, 2]])
    error = np.abs(hand.points - expected).mean(0) / hand_landmarks.size(hand)
    assert error.max() < 0.02
    assert np.linalg.norm(hand.world - answers[f"{name}/world"], axis=-1).mean() < 0.003
    # MediaPipe assumes a mirrored photo and calls the person's right hand "Left".
    assert not answers[f"{name}/label"][0]
    assert hand.right == pytest.approx(float(answers[f"{name}/score"][0]), abs=0.03)
