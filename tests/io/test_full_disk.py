"""Whatever is written, a full disk leaves yesterday's file whole and is named with its reason."""

import contextlib
import pathlib
import re
import resource
import signal

import numpy as np
import pytest
from ml_collections import ConfigDict

import dice_jax
from dice_jax.body_models import load_hand, save_model
from dice_jax.checkpoints import coarse_vertices, config_file, npz_weights
from dice_jax.input_pipeline import pose_priors
from dice_jax.io import atomic, images, mesh_files, params
from dice_jax.io.meshes import NamedMesh
from dice_jax.training import run_log

PACKAGE = pathlib.Path(dice_jax.__file__).parent
LIMIT = 4096  # bytes; what the disk still takes


@contextlib.contextmanager
def full_disk():
    """Lets every file end after `LIMIT` bytes; the error is EFBIG instead of ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


NOISE = np.random.default_rng(0).random((40_000,)).astype(np.float32)


def write_mesh(path, kind):
    colors = np.ones((3000, 3), np.float32)
    mesh = NamedMesh("hand", NOISE[:9000].reshape(-1, 3), np.zeros((500, 3), np.int32), colors)
    mesh_files.write_meshes(path.with_suffix(""), [mesh], kind)


def write_weights(path):
    variables = {"params": {"kernel": NOISE}}
    npz_weights.save_weights(path.parent, variables, ConfigDict())


def write_priors(path):
    rows = lambda sizes: {
        name: NOISE[: 20 * size].reshape(20, size) for name, size in sizes.items()
    }
    priors = pose_priors.Priors({"a": rows(pose_priors.HAND)}, {"a": rows(pose_priors.HEAD)})
    pose_priors.save(path, priors)


def write_lines(path):
    path.write_text('{"step": 1}\n' * 1000)
    with full_disk():
        run_log.MetricsFile(path, restored_step=5)


WRITERS = {
    "report.html": lambda path: atomic.write_text(path, "x" * 10_000),
    "photo.png": lambda path: images.write_image(path, pixels()),
    "photo.jpg": lambda path: images.write_image(path, pixels()),
    "me_params.npz": lambda path: params.write_params(path, {"a": NOISE}),
    "me.glb": lambda path: write_mesh(path, "glb"),
    "weights.npz": write_weights,
    "config.json": lambda path: config_file.save_config(path.parent, ConfigDict({"a": "x" * 9000})),
    "downsampling.npz": lambda path: coarse_vertices.save_selection(
        path.parent, {"hand": (np.arange(9000),)}
    ),
    "priors.npz": write_priors,
    "hand.npz": lambda path: save_model(path, load_hand()),
}


def pixels():
    return np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)


@pytest.mark.parametrize("name", WRITERS)
def test_the_old_file_stays_whole_and_the_error_names_it(tmp_path, name):
    path = tmp_path / name
    load_hand()
    path.write_bytes(b"yesterday")
    with full_disk(), pytest.raises(OSError) as caught:
        WRITERS[name](path)
    assert path.read_bytes() == b"yesterday"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert caught.value.filename == str(path) and caught.value.strerror == "File too large"


def test_a_set_of_files_appears_whole(tmp_path):
    old, new = tmp_path / "a.txt", tmp_path / "b.txt"
    old.write_text("yesterday")
    with full_disk(), pytest.raises(OSError), atomic.together():
        atomic.write_text(old, "today")
        assert old.read_text() == "yesterday"
        atomic.write_text(new, "x" * 10_000)
    assert old.read_text() == "yesterday" and list(tmp_path.iterdir()) == [old]
    with atomic.together():
        atomic.write_text(old, "today")
        atomic.write_text(new, "today")
    assert old.read_text() == new.read_text() == "today"
    assert sorted(tmp_path.iterdir()) == [old, new]


def test_an_error_in_a_set_keeps_every_old_file(tmp_path):
    with pytest.raises(RuntimeError), atomic.together():
        atomic.write_text(tmp_path / "a.txt", "half of the set")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic.atomic_path(tmp_path / "a") as path:
        path.write_bytes((tmp_path / "source").read_bytes())
    assert caught.value.filename == str(tmp_path / "source")


def test_every_file_goes_through_the_atomic_writer():
    """No module writes a file under its own name. NumPy's writers stand inside `atomic_path`."""
    direct = re.compile(r"\.write_text\(|\.write_bytes\(|cv2\.imwrite|open\([^)]*[\"'][wx]b?[\"']")
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r"\bnp\.savez?(_compressed)?\(", line):
                assert any("atomic_path" in before for before in lines[number - 3 : number]), path
            if path.name != "atomic.py" and direct.search(line):
                near = "".join(lines[number - 2 : number + 1])
                assert "atomic." in near or "os.devnull" in line, f"{path}: {line.strip()}"
