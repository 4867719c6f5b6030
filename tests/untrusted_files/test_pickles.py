"""Pickles of arrays come out as arrays, and nothing in a pickle is ever run."""

import collections
import gzip
import os
import pickle
import zlib

import numpy as np
import pytest
from scipy import sparse
from support import licensed_trees

from dice_jax.errors import UserError
from dice_jax.untrusted_files import pickles


@pytest.fixture
def contents(rng):
    return {
        "floats": rng.normal(size=(3, 4)),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float32)),
        "integers": np.arange(5, dtype=">i4"),
        "scalar": np.float64(2.5),
        "nested": [({"deep": np.ones(2)},)],
        "text": "S5",
        "ordered": collections.OrderedDict(a=1),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]),
        "objects": np.array([np.arange(3), "x"], dtype=object),
        "bytes": b"\x00\xff",
    }


def assert_same(read, expected):
    assert type(read) is type(expected)
    if isinstance(expected, dict):
        assert list(read) == list(expected)
        for name in expected:
            assert_same(read[name], expected[name])
    elif isinstance(expected, list | tuple):
        for a, b in zip(read, expected, strict=True):
            assert_same(a, b)
    elif isinstance(expected, np.ndarray) and expected.dtype.hasobject:
        assert_same(list(read), list(expected))
    elif isinstance(expected, np.ndarray):
        assert read.dtype.newbyteorder("=") == expected.dtype.newbyteorder(
            "="
        )  # NumPy itself reads into native order
        np.testing.assert_array_equal(read, expected)
    else:
        assert read == expected


@pytest.mark.parametrize("protocol", range(6))
def test_what_pickle_wrote_comes_back(tmp_path, contents, protocol):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(contents, protocol=protocol))
    assert_same(pickles.read_pickle(path), contents)


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_compressed(tmp_path, contents, compress):
    path = tmp_path / "data.pkl"
    path.write_bytes(compress(pickle.dumps(contents)))
    assert_same(pickles.read_pickle(path), contents)


@pytest.mark.parametrize(
    "kind", [sparse.csc_matrix, sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array]
)
def test_sparse_matrices(tmp_path, rng, kind):
    dense = rng.normal(size=(6, 9)) * (rng.random((6, 9)) < 0.3)
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({"J": kind(dense)}))
    np.testing.assert_array_equal(pickles.read_pickle(path)["J"], dense)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_and_old_scipy(tmp_path, rng, protocol):
    values = rng.normal(size=(4, 3, 2))
    path = licensed_trees.write_pickle(
        tmp_path / "data.pkl",
        dict(
            ch=licensed_trees.Ch(values),
            select=licensed_trees.Select(values),
            J=licensed_trees.OldCsc(values[..., 0]),
        ),
        protocol,
    )
    read = pickles.read_pickle(path)
    np.testing.assert_array_equal(read["ch"], values)
    np.testing.assert_array_equal(read["select"], values)
    np.testing.assert_array_equal(read["J"], values[..., 0])


def test_what_chumpy_computes_in_other_ways_stays_unread_and_harms_nothing_else(tmp_path):
    class Dot:
        def __init__(self):
            self.a = licensed_trees.Ch(np.ones(3))

    with licensed_trees.pretended(chumpy__ch__Ch=licensed_trees.Ch, chumpy__ch_ops__dot=Dot):
        (tmp_path / "data.pkl").write_bytes(
            pickle.dumps({"J": Dot(), "faces": np.arange(3)}, protocol=2)
        )
    read = pickles.read_pickle(tmp_path / "data.pkl")
    assert isinstance(read["J"], pickles.Unread)
    np.testing.assert_array_equal(read["faces"], np.arange(3))


def test_arrays_between_the_lines_of_joblib(tmp_path, rng):
    joblib = pytest.importorskip("joblib")
    frames = {
        i: {"shape": rng.normal(size=100), "jaw": np.asfortranarray(rng.normal(size=(3, 2)))}
        for i in range(3)
    }
    for compress in (0, 3):
        joblib.dump(frames, tmp_path / "data.pkl", compress=compress)
        assert_same(pickles.read_pickle(tmp_path / "data.pkl"), frames)


def test_a_plain_array_is_no_object_file(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(UserError, match="plain array"):
        pickles.read_object_array(tmp_path / "plain.npy")


class Bomb:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_payloads_are_told_by_name_and_never_run(tmp_path, protocol):
    trap, path = tmp_path / "trap", tmp_path / "data.pkl"
    for bomb in (
        Bomb(os.mkdir, str(trap)),
        Bomb(exec, f"open({str(trap)!r}, 'w')"),
        Bomb(np.load, str(trap)),
        Bomb(getattr, "text", "upper"),
        Bomb(collections.Counter, "aab"),
    ):
        for content in ({"weights": bomb}, np.array([bomb], dtype=object)):
            path.write_bytes(pickle.dumps(content, protocol=protocol))
            with pytest.raises(
                UserError, match=r"data\.pkl names \w+.*nothing of it was run"
            ) as caught:
                pickles.read_pickle(path)
            assert "\n" not in str(caught.value) and not trap.exists()


def test_attributes_cannot_be_planted_on_what_is_allowed(tmp_path):
    """BUILD on a class would change it for everyone: only our own stand-ins are objects at all."""
    for name in (b"numpy\nndarray\n", b"collections\nOrderedDict\n", b"builtins\nset\n"):
        (tmp_path / "data.pkl").write_bytes(
            b"\x80\x02c" + name + b"N}X\x04\x00\x00\x00evilK\x01s\x86b."
        )
        with pytest.raises(UserError):
            pickles.read_pickle(tmp_path / "data.pkl")
    assert not hasattr(collections.OrderedDict, "evil")


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"a": np.zeros(100)})[:-40], b"\x78\x9cbroken"]
)
def test_damaged_files_are_one_clear_line(tmp_path, content):
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"data\.pkl cannot be read") as caught:
        pickles.read_pickle(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pickles.read_pickle(tmp_path / "nowhere.pkl")
