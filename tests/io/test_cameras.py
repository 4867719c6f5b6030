"""A webcam: the newest picture wins, and an absent or unplugged camera ends in one line."""

import time

import numpy as np
import pytest
from support.fake_camera import FakeCapture, plug_in

from dice_jax.errors import UserError
from dice_jax.io import cameras


def wait_until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def waiting(camera):
    """The number of the picture that nobody has taken yet."""
    newest = camera._newest
    return None if newest is None else newest[1][0, 0, 0]


def test_whoever_is_slow_gets_the_newest_picture_and_no_old_one(monkeypatch):
    capture = plug_in(monkeypatch, FakeCapture(allowed=1))  # the one that opening takes
    camera = cameras.Camera(0)
    pictures = iter(camera)
    seen, times = [], []
    for newest in (1, 9, 10, 42):
        capture.allow(newest + 1)
        wait_until(lambda newest=newest: waiting(camera) == newest)
        moment, pixels = next(pictures)
        seen.append(int(pixels[0, 0, 2]))  # blue is the last channel of RGB
        times.append(moment)
        assert not pixels[..., :2].any()
    assert seen == [1, 9, 10, 42]
    assert times[0] == 0.0 and (np.diff(times) > 0).all()
    capture.allow(10**9)
    camera.close()
    assert capture.released.is_set() and list(pictures) == [] and not camera.is_gone


def test_a_camera_that_is_unplugged_ends_the_pictures(monkeypatch):
    monkeypatch.setattr(cameras, "_PAUSE", 0.0)
    plug_in(monkeypatch, FakeCapture(count=5))
    camera = cameras.Camera(0)
    numbers = [int(pixels[0, 0, 2]) for _, pixels in camera]
    assert numbers == sorted(numbers) and numbers[-1] == 4
    assert camera.is_gone


def test_an_absent_camera_is_one_line(monkeypatch):
    capture = plug_in(monkeypatch, FakeCapture(count=0))
    with pytest.raises(UserError, match="camera 3: there is none, or another program uses it"):
        cameras.Camera(3)
    assert capture.released.is_set()
