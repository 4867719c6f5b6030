"""Every `.npz` of the package is checked whole: one line names the array at fault."""

import io
import itertools
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pytest
from ml_collections import ConfigDict

import dice_jax
from dice_jax.body_models import assets, load_hand, load_head
from dice_jax.checkpoints import coarse_vertices, npz_weights, pretrained_backbones
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.input_pipeline import pose_priors

PACKAGE = pathlib.Path(dice_jax.__file__).parent
WEIGHTS = {
    "params": {"dense": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}},
    "batch_stats": {"mean": np.zeros(4, np.float32)},
}


def write_weights(folder):
    npz_weights.save_weights(folder, WEIGHTS, ConfigDict({"seed": 0}))
    return folder / "weights.npz"


def read_weights(path):
    variables, _ = npz_weights.load_weights(path.parent)
    npz_weights.check_weights(variables, WEIGHTS, path)


def write_selection(folder):
    rng = np.random.default_rng(0)
    choose = lambda fine, coarse: np.sort(rng.choice(fine, coarse, replace=False))
    selection = {
        part: tuple(choose(*pair) for pair in itertools.pairwise(levels))
        for part, levels in (("hand", HAND_LEVELS), ("head", HEAD_LEVELS))
    }
    coarse_vertices.save_selection(folder, selection)
    return folder / coarse_vertices.FILE


def read_selection(path):
    coarse_vertices.apply_selection(path.parent, load_hand(), load_head())


def write_priors(folder):
    rng = np.random.default_rng(0)
    source = lambda sizes: {name: rng.normal(size=(5, size)) for name, size in sizes.items()}
    priors = pose_priors.Priors({"a": source(pose_priors.HAND)}, {"a": source(pose_priors.HEAD)})
    pose_priors.save(folder / "priors.npz", priors)
    return folder / "priors.npz"


def write_hand(folder):
    shutil.copy(PACKAGE / "body_models" / "data" / "open_hand.npz", folder / "hand.npz")
    return folder / "hand.npz"


FILES = {
    "weights": (write_weights, read_weights),
    "selection": (write_selection, read_selection),
    "backbone": (
        lambda folder: write_weights(folder).rename(folder / "backbone.npz"),
        pretrained_backbones._converted,
    ),
    "priors": (write_priors, pose_priors.load),
    # Without the cache, which knows a file by its path.
    "hand": (write_hand, lambda path: assets._load.__wrapped__(str(path), "hand")),
}


@pytest.fixture(params=FILES)
def file(request, tmp_path):
    """A valid file, and the function that reads it."""
    write, read = FILES[request.param]
    path = write(tmp_path)
    read(path)  # nothing is wrong with it
    return path, read


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def refused(path, read):
    with pytest.raises(ValueError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message and "\n" not in message, message
    return message


def with_value(value):
    def change(array):
        array = array.astype(np.float32)
        array[(0,) * array.ndim] = value
        return array

    return change


CHANGES = {
    "text": lambda array: np.full(array.shape, "a"),
    "bytes": lambda array: np.full(array.shape, b"a"),
    "object": lambda array: array.astype(object),
    "complex": lambda array: array.astype(complex),
    "structured": lambda array: np.zeros(array.shape, [("a", np.float32)]),
    "void": lambda array: np.zeros(array.shape, "V4"),
    "dates": lambda array: np.zeros(array.shape, "M8[s]"),
    "one dimension more": lambda array: array[None],
    "one dimension less": lambda array: array[0] if array.ndim else array[None],
    "a row more": lambda array: np.concatenate([array, array[:1]]),
    "no rows": lambda array: array[:0],
    "NaN": with_value(np.nan),
    "infinity": with_value(-np.inf),
}


# Changes that only another file or the network shows to be wrong, by file and array.
COMPARED_ELSEWHERE = {
    ("backbone.npz", "one dimension more"): "",
    ("backbone.npz", "one dimension less"): "",
    ("backbone.npz", "a row more"): "",
    ("backbone.npz", "no rows"): "",
    ("priors.npz", "a row more"): "",  # the lengths of its arrays are compared
    ("hand.npz", "a row more"): "faces",  # any number of these
    ("hand.npz", "no rows"): "closed_faces",
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_wrong_array_is_named(file, change):
    path, read = file
    contents = members(path)
    for member in contents:
        name = member.removesuffix(".npy").rpartition("/")[2]
        array = np.load(io.BytesIO(contents[member]))
        elsewhere = COMPARED_ELSEWHERE.get((path.name, change))
        if array.dtype.kind == "U" or not array.size or not array.ndim:
            continue
        if elsewhere is not None and elsewhere in name:
            continue
        write(path, contents | {member: npy(CHANGES[change](array))})
        assert name.removesuffix("_1") in refused(path, read)


def test_every_missing_array_is_named(file):
    path, read = file
    contents = members(path)
    if path.name == "backbone.npz":
        pytest.skip("compared with the network's weights")
    for name in contents:
        write(path, {other: contents[other] for other in contents if other != name})
        assert name.removesuffix(".npy").rpartition("/")[2] in refused(path, read)


def test_an_unknown_array_or_a_member_that_is_none_is_named(file):
    path, read = file
    contents = members(path)
    for name, content in {
        "notes.txt": b"hello",
        "params/dense/kernel/more.npy": npy(np.zeros(3, np.float32)),
        "evil.npy": npy(np.array([{}], object)),
        "empty.npy": b"",
        "half.npy": npy(np.zeros(30, np.float32))[:-20],
        "long.npy": npy(np.zeros(3, np.float32)) + b"x",
    }.items():
        write(path, contents | {name: content})
        assert name.split(".")[0].split("/")[0] in refused(path, read)


def test_every_damage_of_the_archive_is_one_line(file, rng):
    path, read = file
    whole = path.read_bytes()
    for length in rng.integers(0, len(whole), 12):
        path.write_bytes(whole[:length])
        refused(path, read)
    unchanged = 0
    for place in rng.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read(path)
            unchanged += 1  # fields of a zip archive that nobody reads, such as dates
        except ValueError as error:
            assert "\n" not in str(error) and path.name in str(error)
    assert unchanged < 20


def test_numpy_reads_no_file_by_itself():
    """`np.load` trusts types and shapes of a file; every reader goes through `untrusted_files`."""
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"\bnp\.(load|fromfile|loadtxt)\(", path.read_text()), path
