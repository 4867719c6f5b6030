"""Files are whole or absent; a folder is proved writable before any work."""

import os
import stat

import pytest

from dice_jax.io import atomic


def test_a_finished_block_replaces_the_old_file(tmp_path):
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


def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic.atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("plain", "a")]
    assert modes[0] == modes[1]


def test_writable_folder_is_made(tmp_path):
    assert atomic.writable_folder(tmp_path / "deep" / "er").is_dir()
    assert list((tmp_path / "deep" / "er").iterdir()) == []


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to the folder .*file"):
        atomic.writable_folder(tmp_path / "file")
