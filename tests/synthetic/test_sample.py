"""People, cameras and lights: a function of seed and number, varied, and in valid ranges."""

import numpy as np

from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import hand_face_synth
from dice_jax.synthetic import sample


def test_a_person_is_a_function_of_subject_and_seed():
    one, again, other = (sample.sample_person(subject, 0) for subject in (5, 5, 6))
    np.testing.assert_array_equal(one.head_betas, again.head_betas)
    assert one.skin_tone == again.skin_tone
    assert not np.allclose(one.head_betas, other.head_betas)


def test_skin_tone_orders_the_skin_by_luminance():
    people = [sample.sample_person(i, 0) for i in range(300)]
    tones = np.array([person.skin_tone for person in people])
    luminance = np.array([person.skin @ (0.2126, 0.7152, 0.0722) for person in people])
    assert np.corrcoef(tones, luminance)[0, 1] < -0.9
    assert tones.min() < 0.05 and tones.max() > 0.95
    assert all((person.skin > 0).all() and (person.skin < 1).all() for person in people)


def test_cameras_keep_the_scene_in_front_of_them_and_mostly_in_the_crop(rng):
    points = rng.normal(0, 0.08, (200, 3))
    inside = []
    for _ in range(100):
        camera = sample.sample_camera(points, rng)
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) > 0
        seen = points @ camera.rotation.T + camera.transl
        assert seen[:, 2].min() > 0.1
        pixels = camera.focal_length * seen[:, :2] / seen[:, 2:] + camera.camera_center
        inside.append(((pixels >= 0) & (pixels < CROP_SIZE)).all(-1).mean())
    assert np.mean(inside) > 0.97


def test_the_mean_camera_sees_an_upright_frontal_face():
    """The person's left is to the camera's right, up is -y, and the face (z) points to -z."""
    rng = np.random.default_rng(0)
    rotations = np.stack(
        [sample.sample_camera(rng.normal(0, 0.1, (50, 3)), rng).rotation for _ in range(400)]
    )
    mean = rotations.mean(0)
    assert mean[0, 0] > 0.5 and mean[1, 1] < -0.5 and mean[2, 2] < -0.5


def test_lights_have_unit_directions_and_positive_strength(rng):
    for _ in range(50):
        lights = sample.sample_lighting(rng)
        np.testing.assert_allclose(np.linalg.norm(lights.directions, axis=-1), 1)
        assert (lights.colors >= 0).all() and (lights.sky > 0).all()
        assert lights.colors[0].mean() > 0.3


def test_no_person_is_in_two_splits():
    """Scene numbers are subject numbers, and the ranges of the splits do not overlap."""
    first = hand_face_synth.FIRST_SCENE
    starts = sorted(first.values())
    assert set(first) == set(hand_face_synth.DEFAULT_SIZES)
    assert np.diff(starts).min() > 10_000_000
    people = [sample.sample_person(start + i, 0).head_betas for start in starts for i in range(20)]
    assert len(np.unique(np.round(people, 6), axis=0)) == len(people)
