"""Several photos at once give the answers of single photos, in order, with bounded memory."""

import dataclasses
import threading

import jax
import numpy as np
import pytest
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo, many_photos
from dice_jax.io import images


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return dice_jax.load(save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def photos():
    """Without a hand, with one, with a left one, and without anybody."""
    portrait = images.read_image(demo.SAMPLES / "astronaut.jpg")
    scene = images.read_image(demo.SAMPLES / "scene_palm_cheek.jpg")
    mirrored = np.ascontiguousarray(scene[:, ::-1])
    return [portrait, scene, mirrored, np.zeros((50, 80, 3), np.uint8), scene, portrait]


def test_the_answers_are_those_of_single_photos(model, photos):
    alone = [dice_jax.reconstruct(model, photo) for photo in photos]
    together = list(dice_jax.reconstruct_photos(model, photos, threads=3))
    assert [len(people) for people in together] == [1, 1, 1, 0, 1, 1]
    assert together[2][0].hands[0].side == "left"
    for expected, found in zip(alone, together):
        for a, b in zip(expected, found):
            compare = lambda x, y: (
                x == y if isinstance(x, str) else np.testing.assert_allclose(x, y, atol=1e-4)
            )
            jax.tree.map(compare, dataclasses.asdict(a), dataclasses.asdict(b))


def test_options_reach_every_photo(model, photos):
    for people in dice_jax.reconstruct_photos(model, photos[1:3], focal_length=500.0):
        assert people[0].photo_camera.focal_length == 500.0


@pytest.fixture
def slow(monkeypatch):
    """A reconstruction that waits until it is allowed, and the numbers that it began with."""
    begun, allowed = [], threading.Semaphore(0)

    def reconstruct(model, photo):
        begun.append(int(photo[0, 0, 0]))
        assert allowed.acquire(timeout=30)
        if begun[-1] == 99:
            raise ValueError("a broken photo")
        return [int(photo[0, 0, 0])]

    monkeypatch.setattr(many_photos, "reconstruct", reconstruct)
    return begun, allowed


def numbered(numbers, read):
    for number in numbers:
        read.append(number)
        yield np.full((1, 1, 3), number, np.uint8)


def test_only_a_few_photos_are_read_ahead(model, slow):
    begun, allowed = slow
    read = []
    answers = many_photos.reconstruct_photos(model, numbered(range(50), read), threads=2)
    allowed.release(1000)
    for number in range(50):
        assert next(answers) == [number]
        assert len(read) <= number + 2 * 2 + 1
    assert list(answers) == [] and sorted(begun) == list(range(50))


def test_an_error_is_raised_in_its_place_and_stops_the_rest(model, slow):
    begun, allowed = slow
    answers = many_photos.reconstruct_photos(model, numbered([1, 99, 3, 4, 5, 6, 7], []), threads=1)
    allowed.release(1000)
    assert next(answers) == [1]
    with pytest.raises(ValueError, match="a broken photo"):
        next(answers)
    assert list(answers) == []
    assert len(begun) < 7
