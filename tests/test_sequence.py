"""A sequence of photos: answers move smoothly, follow fast motion, and say where to look next."""

import dataclasses

import numpy as np
import pytest
from support import detected_person
from support.detected_person import SHAPE
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo, previous_people
from dice_jax.fitting import detector_points
from dice_jax.io import images

FRAMES = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return dice_jax.load(save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)


def noisy(person, rng, shift=(0.0, 0.0), pixels=2.0, meters=0.006):
    """The detections with noise as that of landmark networks, moved by `shift` pixels."""

    def moved(part):
        noise = rng.normal(0, pixels, (len(part.points), 3)) + [*shift, 0.0]
        return dataclasses.replace(part, points=part.points + noise)

    hands = [
        dataclasses.replace(moved(h), world=h.world + rng.normal(0, meters, (21, 3)))
        for h in person.hands
    ]
    return dataclasses.replace(person, face=moved(person.face), hands=tuple(hands))


def run(model, photo, frames, smooth):
    people, answers = [], []
    for found in frames:
        previous = people if smooth else ()
        # The random network sees the same pixels in every frame.
        people = dice_jax.reconstruct(model, photo, people=[found], previous=previous, crop="full")
        answers.append(people[0])
    return answers


def jitter(points):
    """Root mean square change between frames."""
    return np.sqrt((np.diff(np.stack(points), axis=0) ** 2).sum(-1).mean())


def test_noise_moves_the_meshes_less(model, photo, rng):
    frames = [noisy(detected_person.detections(), rng) for _ in range(FRAMES)]
    alone, smooth = (run(model, photo, frames, smooth) for smooth in (False, True))
    for part, share in (
        (lambda person: person.head.keypoints_3d, 0.8),
        (lambda person: person.hands[0].keypoints_3d, 0.8),
        (lambda person: person.hands[0].keypoints_2d, 0.8),
    ):
        assert jitter(list(map(part, smooth))) < share * jitter(list(map(part, alone)))
    # Smooth is not frozen elsewhere: the mean stays where it is.
    mean = lambda people: np.mean([person.head.keypoints_2d for person in people], axis=0)
    assert np.linalg.norm(mean(smooth) - mean(alone), axis=-1).mean() < 2.0


def test_a_head_that_moves_fast_is_followed(model, photo, rng):
    """The mesh lags behind the detections by less than a quarter of the motion between frames."""
    step = np.array([12.0, -8.0])  # pixels
    clean = detected_person.detections()
    frames = [noisy(clean, rng, i * step, pixels=0.5) for i in range(FRAMES)]
    for answer, found in zip(run(model, photo, frames, smooth=True), frames):
        (alone,) = dice_jax.reconstruct(model, photo, people=[found], crop="full")
        lag = 0.25 * np.linalg.norm(step)
        assert answer.head.residual < alone.head.residual + lag


def test_another_person_is_not_the_previous_one(model, photo):
    found = detected_person.detections()
    (expected,) = dice_jax.reconstruct(model, photo, people=[found])
    far = dataclasses.replace(expected.head, keypoints_2d=expected.head.keypoints_2d + 4000.0)
    elsewhere = dataclasses.replace(expected, head=far)
    (answer,) = dice_jax.reconstruct(model, photo, people=[found], previous=[elsewhere])
    np.testing.assert_array_equal(answer.head.vertices, expected.head.vertices)


def test_an_answer_says_where_to_look_next(model):
    """Its points lie where the detectors saw them, and the next frame needs no search."""
    photo = images.read_image(demo.SAMPLES / "scene_palm_cheek.jpg")
    people = dice_jax.reconstruct(model, photo)
    models = detector_points.prepare(model.hand_model, model.head_model)
    found = previous_people.as_detections(models, people[0])
    size = np.ptp(people[0].head.keypoints_2d, axis=0).max()
    inner = found.face.points[:, :2].mean(0) - people[0].head.keypoints_2d[17:].mean(0)
    assert np.linalg.norm(inner) < 0.15 * size
    np.testing.assert_allclose(
        found.hands[0].points[:, :2], people[0].hands[0].keypoints_2d, atol=0.01
    )
    (again,) = dice_jax.reconstruct(model, photo, previous=people)
    error = np.linalg.norm(again.head.keypoints_2d - people[0].head.keypoints_2d, axis=-1)
    assert error.mean() < 0.05 * size
    assert [hand.side for hand in again.hands] == ["right"]
