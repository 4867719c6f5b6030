"""People through a video: their numbers, their shape, and what is forgotten."""

import dataclasses

import numpy as np
import pytest
from support.detected_person import CAMERA, left_hand, touching_person

from dice_jax.body_models import assets, flame, mano
from dice_jax.sequences.cuts import CutDetector
from dice_jax.sequences.people import Tracks


def make_tracks(strength="light"):
    return Tracks(strength, assets.load_hand(), assets.load_head())


def moved(person, pixels, rng=None, noise=0.0):
    """The person elsewhere in the photo, with noisy parameters."""
    shift = np.array([*pixels, 0.0]) * CAMERA.transl[2] / CAMERA.focal_length
    camera = dataclasses.replace(CAMERA, transl=CAMERA.transl + shift)
    head, hands = person.head, person.hands
    if rng is not None:
        jitter = lambda x: (np.asarray(x) + rng.normal(scale=noise, size=np.shape(x))).astype("f4")
        change = lambda params: params.replace(
            **{f.name: jitter(getattr(params, f.name)) for f in dataclasses.fields(params)}
        )
        head = dataclasses.replace(head, params=change(head.params))
        hands = tuple(dataclasses.replace(hand, params=change(hand.params)) for hand in hands)
    head = dataclasses.replace(head, keypoints_2d=camera.project(head.keypoints_3d))
    hands = tuple(
        dataclasses.replace(hand, keypoints_2d=camera.project(hand.keypoints_3d)) for hand in hands
    )
    return dataclasses.replace(person, head=head, hands=hands, photo_camera=camera)


def test_people_keep_their_numbers_whatever_their_order():
    tracks, person = make_tracks("off"), touching_person()
    a, b = moved(person, (-120, 0)), moved(person, (120, 0))
    assert [number for number, _ in tracks([a, b], 0.0)] == [1, 2]
    a, b = moved(person, (-110, 5)), moved(person, (112, 0))
    assert [number for number, _ in tracks([b, a], 0.04)] == [2, 1]
    assert [number for number, _ in tracks([b], 0.08)] == [2]
    c = moved(person, (0, 150))
    assert [number for number, _ in tracks([c, a], 0.12)] == [3, 1]


def test_who_was_gone_for_long_or_before_a_cut_is_somebody_new():
    tracks, person = make_tracks("off"), touching_person()
    assert tracks([person], 0.0)[0][0] == 1
    assert tracks([person], 0.9)[0][0] == 1
    assert tracks([person], 2.5)[0][0] == 2
    tracks.reset()
    assert tracks([person], 2.6)[0][0] == 3


def test_a_person_who_stands_still_is_not_changed():
    tracks, person = make_tracks("strong"), touching_person()
    for frame in range(6):
        ((_, smooth),) = tracks([person], frame / 30)
        np.testing.assert_allclose(smooth.head.vertices, person.head.vertices, atol=2e-6)
        np.testing.assert_allclose(smooth.hands[0].vertices, person.hands[0].vertices, atol=2e-6)
        np.testing.assert_allclose(smooth.head.keypoints_2d, person.head.keypoints_2d, atol=0.01)
        np.testing.assert_allclose(smooth.head.deformations, person.head.deformations, atol=1e-7)


def test_jitter_of_the_vertices_is_halved_and_the_shape_is_locked(rng):
    tracks, person = make_tracks(), touching_person()
    noisy, smooth = [], []
    for frame in range(50):
        shaky = moved(person, rng.normal(scale=0.5, size=2), rng, 0.01)
        noisy.append(np.asarray(mano.pose_hand(assets.load_hand(), shaky.hands[0].params).vertices))
        smooth.append(tracks([shaky], frame / 30)[0][1])
    jitter = lambda x: np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).mean()
    assert jitter([one.hands[0].vertices for one in smooth]) < 0.5 * jitter(noisy)
    betas = np.array([one.head.params.betas for one in smooth])
    np.testing.assert_array_equal(betas[30:], np.broadcast_to(betas[30], betas[30:].shape))
    last = smooth[-1]
    posed = flame.pose_head(assets.load_head(), last.head.params)
    np.testing.assert_allclose(posed.vertices, last.head.vertices, atol=1e-6)
    pixels = last.photo_camera.project(last.head.keypoints_3d)
    np.testing.assert_allclose(pixels, last.head.keypoints_2d, atol=1e-3)


def test_a_hand_that_comes_back_begins_anew():
    tracks, person = make_tracks("strong"), touching_person()
    (hand,) = person.hands
    away = dataclasses.replace(hand, params=hand.params.replace(transl=hand.params.transl + 0.1))
    tracks([person], 0.0)
    tracks([dataclasses.replace(person, hands=())], 0.03)
    ((_, back),) = tracks([dataclasses.replace(person, hands=(away,))], 0.07)
    np.testing.assert_allclose(back.hands[0].params.transl, away.params.transl, atol=1e-6)


def test_left_hands_are_mirrored(rng):
    tracks, person = make_tracks(), touching_person()
    both = dataclasses.replace(person, hands=(*person.hands, left_hand(person.hands[0])))
    ((_, smooth),) = tracks([both], 0.0)
    np.testing.assert_allclose(smooth.hands[1].vertices, both.hands[1].vertices, atol=1e-6)


def test_an_unknown_strength_is_named():
    with pytest.raises(ValueError, match="smooth must be one of off, light, strong, got 'very'"):
        make_tracks("very")


def test_cuts_are_found_and_motion_is_none(rng):
    scenes = rng.integers(0, 256, (2, 30, 40, 3)).astype(np.uint8)
    scenes[1] //= 3
    big = scenes.repeat(12, 1).repeat(12, 2)
    is_cut = CutDetector()
    frames = [np.roll(big[0], 3 * k, axis=1) for k in range(5)]
    assert not any(is_cut(frame) for frame in frames)
    assert is_cut(big[1]) and not is_cut(big[1])
