"""Live from a camera, with a fake one and a fake window."""

import cv2
import numpy as np
import pytest
from support.command_line import exit_code
from support.detected_person import SHAPE, touching_person
from support.fake_camera import FakeCapture, plug_in
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo, live
from dice_jax.errors import UserError
from dice_jax.io import video_writer, videos
from dice_jax.sequences.video_people import FramePeople
from dice_jax.visualization import window


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def camera(monkeypatch):
    return plug_in(monkeypatch, FakeCapture(SHAPE, pause=0.01))


@pytest.fixture
def seen(monkeypatch):
    """Everybody is found at once; the options of the call."""
    options = {}

    def everybody(model, frames, **given):
        options.update(given)
        for _ in frames:
            yield FramePeople([(1, touching_person())], [touching_person()], False)

    monkeypatch.setattr(live, "reconstruct_video", everybody)
    return options


class FakeWindow(window.Window):
    def __init__(self, pictures):
        self.left, self.shown, self.closed = pictures, [], False

    def show(self, pixels):
        self.shown.append(pixels)
        self.left -= 1
        return self.left > 0

    def close(self):
        self.closed = True


def test_the_window_shows_the_meshes_and_ends_the_run(weights, camera, seen):
    shown = FakeWindow(3)
    done = live.run(dice_jax.load(weights), 0, shown, hand="left", smooth="strong")
    assert done.frames == 3 == len(shown.shown) and not done.gone
    assert seen == {"hand": "left", "smooth": "strong"}
    assert shown.closed and camera.released.is_set()
    for picture in shown.shown:
        assert picture.shape == (*SHAPE, 3)
        assert picture[:20, :20, :2].max() == 0 < picture[..., :2].max()  # meshes are not blue


def test_the_film_has_what_was_shown_for_as_long_as_it_was(weights, camera, seen, tmp_path):
    need_ffmpeg()
    camera.pause = 0.1
    shown = FakeWindow(8)
    done = live.run(dice_jax.load(weights), 0, shown, tmp_path / "me.mp4")
    frames = list(videos.read_frames(tmp_path / "me.mp4"))
    assert frames[-1].time == pytest.approx(done.seconds, abs=0.1)
    assert abs(frames[-1].pixels.astype(int) - shown.shown[-1]).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == ["me.mp4"]


def test_ctrl_c_keeps_the_film(weights, camera, monkeypatch, tmp_path):
    need_ffmpeg()

    def interrupted(model, frames, **options):
        for number, _ in enumerate(frames):
            if number == 3:
                raise KeyboardInterrupt
            yield FramePeople([], [], False)

    monkeypatch.setattr(live, "reconstruct_video", interrupted)
    done = live.run(dice_jax.load(weights), 0, None, tmp_path / "me.mp4")
    assert done.frames == 3 and camera.released.is_set()
    assert list(videos.read_frames(tmp_path / "me.mp4"))


def test_an_error_leaves_no_film_and_releases_the_camera(weights, camera, monkeypatch, tmp_path):
    need_ffmpeg()

    def broken(model, frames, **options):
        for number, _ in enumerate(frames):
            if number == 2:
                raise OSError("full")
            yield FramePeople([], [], False)

    monkeypatch.setattr(live, "reconstruct_video", broken)
    with pytest.raises(OSError, match="full"):
        live.run(dice_jax.load(weights), 0, None, tmp_path / "me.mp4")
    assert camera.released.is_set() and not list(tmp_path.iterdir())


def need_ffmpeg():
    try:
        video_writer.ffmpeg()
    except UserError as error:
        pytest.skip(str(error))


################ The command line ################


def test_without_a_window_and_without_a_film_one_line_says_why(monkeypatch, capsys, weights):
    options = ["--camera", "0", "--weights", str(weights)]
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    assert exit_code(demo.main, options) == 2
    printed = capsys.readouterr().err
    assert "opencv-python-headless" in printed and "--record FILE" in printed
    assert printed.startswith("error: ") and printed.count("\n") == 1
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    monkeypatch.setattr(window.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert exit_code(demo.main, options) == 2
    printed = capsys.readouterr().err
    assert "no screen" in printed and printed.count("\n") == 1


def test_an_absent_camera_is_one_line(monkeypatch, capsys, weights):
    monkeypatch.setattr(demo, "Window", lambda title: FakeWindow(1))
    plug_in(monkeypatch, FakeCapture(count=0))
    assert exit_code(demo.main, ["--camera", "5", "--weights", str(weights)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: camera 5: there is none") and printed.count("\n") == 1


def test_the_command_ends_with_a_summary(monkeypatch, capsys, weights, camera, seen):
    monkeypatch.setattr(demo, "Window", lambda title: FakeWindow(2))
    options = ["--camera", "0", "--weights", str(weights), "--hand", "both"]
    assert demo.main(options) == 0
    assert "camera 0: 2 pictures in" in capsys.readouterr().out
    assert seen["hand"] == "both" and seen["fit"] is True and seen["smooth"] == "light"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--camera", "0", "--image", "a.jpg"), "it does not go with --image or --video"),
        (("--camera", "-1"), "--camera is the number of a webcam"),
        (("--record", "a.mp4"), "--record is what --camera shows"),
        (("--camera", "0", "--record", "a.avi"), "--record is an .mp4 file"),
    ],
)
def test_wrong_flags_are_named(capsys, flags, message):
    assert exit_code(demo.main, flags) == 2
    assert message in capsys.readouterr().err


################ The window ################


def test_the_keys_q_and_escape_and_closing_the_window_end_it(monkeypatch):
    keys, visible, shown = [], [1.0], []
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *arguments: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, pixels: shown.append(pixels))
    monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: keys.pop(0))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *arguments: visible[0])
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 255
    one = window.Window("a")
    keys += [-1, ord("x"), ord("q"), 27]
    assert [one.show(red) for _ in range(4)] == [True, True, False, False]
    assert shown[0][0, 0].tolist() == [0, 0, 255]  # OpenCV's order
    visible[0] = 0.0
    assert not one.show(red)
