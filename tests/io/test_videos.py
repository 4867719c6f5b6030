"""Videos: written frames are read back one by one, at their times; bad files give one line."""

import contextlib
import re
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from dice_jax.errors import UserError
from dice_jax.io import video_writer, videos

SIZE = (64, 48)


@pytest.fixture(scope="module")
def program():
    try:
        return video_writer.ffmpeg()
    except UserError as error:
        pytest.skip(str(error))


def picture(number):
    """A gray level and a bright square that say the number of the frame."""
    frame = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    row, column = divmod(number % 12, 4)
    frame[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 220
    return frame


def number_of(pixels):
    blocks = pixels.mean(axis=-1).reshape(3, 16, 4, 16).mean(axis=(1, 3))
    return int(blocks.argmax())


def write(path, times, fps=25.0, first=0):
    writer = video_writer.VideoWriter(path, SIZE, fps, first)
    for number, time in enumerate(times):
        writer.write(picture(number), time)
    writer.close()
    return writer


@pytest.fixture(scope="module")
def clip(program, tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "a clip é.mp4"
    write(path, np.arange(30) / 25)
    return path


def test_frames_are_read_back_in_order_and_at_their_times(clip):
    info = videos.probe(clip)
    assert (info.width, info.height, info.frames) == (*SIZE, 30)
    assert info.fps == pytest.approx(25.0)
    frames = list(videos.read_frames(clip))
    assert [number_of(frame.pixels) for frame in frames] == [k % 12 for k in range(30)]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25, atol=1e-3)
    assert [frame.index for frame in frames] == list(range(30))
    assert np.abs(frames[3].pixels.astype(int) - picture(3)).mean() < 3  # colors and range


def test_reading_can_begin_later(clip):
    frames = list(videos.read_frames(clip, start=27))
    assert [(frame.index, number_of(frame.pixels)) for frame in frames] == [
        (27, 3),
        (28, 4),
        (29, 5),
    ]
    assert frames[0].time == pytest.approx(27 / 25, abs=1e-3)


class Damaged:
    """A video of ten frames of one gray level each, of which some cannot be decoded."""

    def __init__(self, bad):
        self.bad, self.number = bad, -1

    def grab(self):
        self.number += 1
        return self.number < 10

    def retrieve(self):
        return self.number not in self.bad, np.full((48, 64, 3), self.number, np.uint8)

    def read(self):
        return (self.grab(), *self.retrieve()[1:])

    def get(self, what):
        return self.number * 100.0 if what == videos.cv2.CAP_PROP_POS_MSEC else 10.0


def test_reading_goes_on_at_the_same_frame_of_a_damaged_video(monkeypatch):
    opened = lambda path: contextlib.nullcontext(Damaged(bad=(2, 6)))
    monkeypatch.setattr(videos, "_opened", opened)
    shown = lambda start: [
        (frame.index, frame.time, int(frame.pixels[0, 0, 0]))
        for frame in videos.read_frames("a.mp4", start)
    ]
    whole = shown(0)
    assert [level for _, _, level in whole] == [0, 1, 3, 4, 5, 7, 8, 9]
    for start in range(8):
        assert shown(start) == whole[start:]


def test_a_variable_rate_becomes_a_constant_one_with_every_frame_at_its_time(program, tmp_path):
    times = [0.0, 0.04, 0.2, 0.21, 0.4]
    writer = write(tmp_path / "a.mp4", times)
    shown = [number_of(frame.pixels) for frame in videos.read_frames(tmp_path / "a.mp4")]
    assert shown == [0, 1, 1, 1, 1, 3, 3, 3, 3, 3, 4]
    assert writer.written == 11


def test_parts_are_joined_without_a_gap_and_with_sound(program, tmp_path, clip):
    cut = write(tmp_path / "0'0.mp4", np.arange(7) / 25).written
    write(tmp_path / "1.mp4", np.arange(7, 12) / 25, first=cut)
    sound = tmp_path / "with sound.mp4"
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        tone = (8000 * np.sin(np.arange(3200) * 0.3)).astype("<i2")
        file.writeframes(tone.tobytes())
    command = [program, "-y", "-loglevel", "error", "-i", str(clip)]
    command += ["-i", str(tmp_path / "tone.wav"), "-c:v", "copy", "-c:a", "aac", str(sound)]
    subprocess.run(command, check=True)
    out = tmp_path / "out.mp4"
    video_writer.join([tmp_path / "0'0.mp4", tmp_path / "1.mp4"], out, sound)
    frames = list(videos.read_frames(out))
    assert [number_of(frame.pixels) for frame in frames] == [*range(7), *range(5)]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 25, atol=1e-3)
    said = subprocess.run([program, "-i", str(out)], capture_output=True, text=True).stderr
    assert "Audio: aac" in said and "h264" in said and "yuv420p" in said
    video_writer.join([tmp_path / "1.mp4"], out, clip)  # no sound in there
    said = subprocess.run([program, "-i", str(out)], capture_output=True, text=True).stderr
    assert "Audio" not in said


def test_frames_of_a_turned_video_are_upright(program, clip, tmp_path):
    turned = tmp_path / "turned.mp4"
    command = [program, "-y", "-loglevel", "error", "-display_rotation", "90", "-i", str(clip)]
    subprocess.run([*command, "-c", "copy", str(turned)], check=True)
    info = videos.probe(turned)
    assert (info.width, info.height) == SIZE[::-1]


def bad_files(folder, clip):
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "half.mp4").write_bytes(clip.read_bytes()[:500])
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "list.mp4").write_text("#EXTM3U\nhttp://localhost/x.ts\n")
    (folder / "parts.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (folder / "page.mp4").write_text("<!doctype html><html></html>")
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    shutil.copy(folder / "tone.wav", folder / "sound.mp4")


@pytest.mark.parametrize("name", ["empty", "half", "text", "list", "parts", "page", "sound"])
def test_what_is_no_video_gives_one_line(clip, tmp_path, name, capfd):
    bad_files(tmp_path, clip)
    with pytest.raises(UserError) as caught:
        list(videos.read_frames(tmp_path / f"{name}.mp4"))
    assert f"{name}.mp4" in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # whatever was opened before
    with pytest.raises(FileNotFoundError, match="no such file"):
        videos.probe(tmp_path / "absent.mp4")


def test_one_function_of_the_package_opens_videos():
    """Whoever opens the first one decides for the process what FFmpeg prints and connects to."""
    opened = [
        path.name
        for path in Path(videos.__file__).parents[1].rglob("*.py")
        for _ in re.findall(r"\bVideoCapture\(", path.read_text())
    ]
    # FFmpeg opens no cameras.
    assert sorted(opened) == ["cameras.py", "videos.py"]


def test_a_failed_encoder_leaves_no_file(program, tmp_path):
    writer = video_writer.VideoWriter(tmp_path / "a.mp4", SIZE, 25.0)
    writer.write(picture(0), 0.0)
    writer.process.kill()
    writer.process.wait()
    with pytest.raises(OSError, match=r"a\.mp4: cannot be encoded"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(video_writer.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(video_writer.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dice_jax\[video\]'"):
        video_writer.VideoWriter(tmp_path / "a.mp4", SIZE, 25.0)
    assert list(tmp_path.iterdir()) == []
