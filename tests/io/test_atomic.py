"""Files are complete or absent; a folder is checked to be writable before any work."""

import os
import stat

import pytest

from dice_jax.io import atomic


def test_a_block_without_error_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.suffix == ".txt"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_failed_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_files_have_the_default_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic.atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("plain", "a")]
    assert modes[0] == modes[1]


def test_a_writable_folder_is_made_with_its_parents(tmp_path):
    folder = atomic.writable_folder(tmp_path / "parent" / "child")
    assert folder.is_dir() and list(folder.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to the folder .*file"):
        atomic.writable_folder(tmp_path / "file")
