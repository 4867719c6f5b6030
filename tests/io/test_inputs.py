"""Inputs: folders with folders in them, patterns, a list on the standard input."""

import io
from pathlib import Path

import pytest

from dice_jax.io import images, inputs


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jpg", "a é 😀.PNG", "deep/er/c.jpg", "deep/notes.txt", ".hidden/d.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in" / "out").mkdir()
    (tmp_path / "in" / "out" / "x_overlay.png").write_bytes(b"x")
    for name in ("one.mp4", "deep/two.MOV"):
        (tmp_path / "in" / name).write_bytes(b"x")
    return tmp_path / "in"


def found(*given, **options):
    return [path.name for path in images.find_images(inputs.expand(given, **options))[0]]


def test_folders_are_searched_with_the_folders_in_them_but_not_the_results(tree):
    assert found(tree, leave_out=tree / "out") == ["a é 😀.PNG", "b.jpg", "c.jpg"]
    assert "x_overlay.png" in found(tree)


def test_videos_of_a_folder(tree):
    paths = inputs.expand([tree], suffixes=(".mp4", ".mov"))
    assert [path.name for path in paths] == ["one.mp4", "two.MOV"]
    with pytest.raises(FileNotFoundError, match="no videos in the folder"):
        inputs.expand([tree / "out"], suffixes=(".mp4",))


def test_patterns_and_names_that_look_like_patterns(tree):
    assert found(str(tree / "*.jpg")) == ["b.jpg"]
    assert found(str(tree / "**" / "*.jpg")) == ["b.jpg", "c.jpg"]
    with pytest.raises(FileNotFoundError, match=r"no file matches the pattern .*\*\.bmp"):
        found(str(tree / "*.bmp"))
    odd = tree / "[1].jpg"
    odd.write_bytes(b"x")
    assert inputs.expand([odd]) == [odd]


def test_a_list_on_the_standard_input(tree, monkeypatch):
    lines = f"{tree / 'b.jpg'}\n\n{tree / 'a é 😀.PNG'}\r\nabsent.jpg\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    paths = inputs.expand(["-", tree / "b.jpg"])
    assert paths == [tree / "b.jpg", tree / "a é 😀.PNG", Path("absent.jpg")]


def test_an_empty_list_on_the_standard_input_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    with pytest.raises(FileNotFoundError, match="list on the standard input is empty"):
        inputs.expand(["-"])


def test_an_empty_folder_is_kept_so_that_the_reader_names_it(tmp_path):
    assert inputs.expand([tmp_path]) == [tmp_path]
