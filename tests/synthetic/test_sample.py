"""People, cameras and lights: determined by numbers, varied, and within what the rest can use."""

import numpy as np

from dice_jax.datasets import hand_face_synth
from dice_jax.synthetic import photo, sample


def test_a_person_is_a_number():
    one, again, other = (
        sample.sample_person(5, 0),
        sample.sample_person(5, 0),
        sample.sample_person(6, 0),
    )
    np.testing.assert_array_equal(one.head_betas, again.head_betas)
    assert one.skin_tone == again.skin_tone
    assert not np.allclose(one.head_betas, other.head_betas)


def test_skin_gets_darker_with_its_tone():
    people = [sample.sample_person(i, 0) for i in range(300)]
    tones = np.array([person.skin_tone for person in people])
    luminance = np.array([person.skin @ (0.2126, 0.7152, 0.0722) for person in people])
    assert np.corrcoef(tones, luminance)[0, 1] < -0.9
    assert tones.min() < 0.05 and tones.max() > 0.95
    assert all((person.skin > 0).all() and (person.skin < 1).all() for person in people)


def test_cameras_keep_the_scene_in_front_and_mostly_in_the_crop(rng):
    points = rng.normal(0, 0.08, (200, 3))
    inside = []
    for _ in range(100):
        camera = sample.sample_camera(points, rng)
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) > 0
        seen = points @ camera.rotation.T + camera.transl
        assert seen[:, 2].min() > 0.1
        pixels = camera.focal_length * seen[:, :2] / seen[:, 2:] + camera.camera_center
        inside.append(((pixels >= 0) & (pixels < 224)).all(-1).mean())
    assert np.mean(inside) > 0.97


def test_an_upright_frontal_head_is_upright():
    """x to the person's left is to the camera's right; y up is -y; the face (z) looks at the camera
    (-z).
    """
    rng = np.random.default_rng(0)
    rotations = np.stack(
        [sample.sample_camera(rng.normal(0, 0.1, (50, 3)), rng).rotation for _ in range(400)]
    )
    mean = rotations.mean(0)
    assert mean[0, 0] > 0.5 and mean[1, 1] < -0.5 and mean[2, 2] < -0.5


def test_lights_have_unit_directions_and_some_strength(rng):
    for _ in range(50):
        lights = sample.sample_lighting(rng)
        np.testing.assert_allclose(np.linalg.norm(lights.directions, axis=-1), 1)
        assert (
            (lights.colors >= 0).all() and lights.colors[0].mean() > 0.3 and (lights.sky > 0).all()
        )


def test_background_shows_where_nobody_is(rng):
    coverage = np.zeros((64, 64))
    coverage[:, :32] = 1
    color = np.where(coverage[..., None] > 0, [0.4, 0.1, 0.1], 0.0)
    pictures = np.stack([photo.finish(color, coverage, rng) for _ in range(20)]).astype(float)
    person, behind = pictures[:, :, 4:28], pictures[:, :, 36:60]
    redness = lambda part: (part[..., 0] - part[..., 2]).mean((1, 2))
    assert redness(person).mean() > redness(behind).mean() + 20
    assert behind.mean((1, 2, 3)).std() > 10


def test_nobody_is_in_two_splits():
    """Scene numbers are subject numbers, and splits draw from ranges too far apart to meet."""
    first = hand_face_synth._FIRST_SCENE
    starts = sorted(first.values())
    assert set(first) == set(hand_face_synth.DEFAULT_SIZES) and np.diff(starts).min() > 10_000_000
    people = [sample.sample_person(start + i, 0).head_betas for start in starts for i in range(20)]
    assert len(np.unique(np.round(people, 6), axis=0)) == len(people)
