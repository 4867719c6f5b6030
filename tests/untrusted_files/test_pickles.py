"""Pickles of arrays are read as NumPy reads them, and nothing in a pickle is run."""

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
        # NumPy reads into native byte order.
        assert read.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, expected)
    else:
        assert read == expected


@pytest.mark.parametrize("protocol", range(6))
def test_reads_containers_and_arrays_of_every_protocol(tmp_path, contents, protocol):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(contents, protocol=protocol))
    assert_same(pickles.read_pickle(path), contents)


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_reads_compressed_pickles(tmp_path, contents, compress):
    path = tmp_path / "data.pkl"
    path.write_bytes(compress(pickle.dumps(contents)))
    assert_same(pickles.read_pickle(path), contents)


@pytest.mark.parametrize(
    "kind", [sparse.csc_matrix, sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array]
)
def test_sparse_matrices_become_dense_arrays(tmp_path, rng, kind):
    dense = rng.normal(size=(6, 9)) * (rng.random((6, 9)) < 0.3)
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({"J": kind(dense)}))
    np.testing.assert_array_equal(pickles.read_pickle(path)["J"], dense)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_reads_chumpy_and_old_scipy_objects_without_these_packages(tmp_path, rng, protocol):
    values = rng.normal(size=(4, 3, 2))
    stand_ins = dict(
        ch=licensed_trees.Ch(values),
        select=licensed_trees.Select(values),
        J=licensed_trees.OldCsc(values[..., 0]),
    )
    path = licensed_trees.write_pickle(tmp_path / "data.pkl", stand_ins, protocol)
    read = pickles.read_pickle(path)
    np.testing.assert_array_equal(read["ch"], values)
    np.testing.assert_array_equal(read["select"], values)
    np.testing.assert_array_equal(read["J"], values[..., 0])


def test_other_chumpy_operations_are_skipped_and_the_rest_is_read(tmp_path):
    class Dot:
        def __init__(self):
            self.a = licensed_trees.Ch(np.ones(3))

    with licensed_trees.pretended(chumpy__ch__Ch=licensed_trees.Ch, chumpy__ch_ops__dot=Dot):
        content = pickle.dumps({"J": Dot(), "faces": np.arange(3)}, protocol=2)
        (tmp_path / "data.pkl").write_bytes(content)
    read = pickles.read_pickle(tmp_path / "data.pkl")
    assert isinstance(read["J"], pickles.Unread)
    np.testing.assert_array_equal(read["faces"], np.arange(3))


def test_reads_arrays_of_joblib(tmp_path, rng):
    joblib = pytest.importorskip("joblib")
    frame = lambda: dict(shape=rng.normal(size=100), jaw=np.asfortranarray(rng.normal(size=(3, 2))))
    frames = {i: frame() for i in range(3)}
    for compress in (0, 3):
        joblib.dump(frames, tmp_path / "data.pkl", compress=compress)
        assert_same(pickles.read_pickle(tmp_path / "data.pkl"), frames)


def test_an_array_file_without_an_object_is_rejected(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(UserError, match="plain array"):
        pickles.read_object_array(tmp_path / "plain.npy")


class Bomb:
    """Calls a function with arguments when it is unpickled without protection."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_payload_is_rejected_by_name_and_not_run(tmp_path, protocol):
    target, path = tmp_path / "target", tmp_path / "data.pkl"
    for bomb in (
        Bomb(os.mkdir, str(target)),
        Bomb(exec, f"open({str(target)!r}, 'w')"),
        Bomb(np.load, str(target)),
        Bomb(getattr, "text", "upper"),
        Bomb(collections.Counter, "aab"),
    ):
        for content in ({"weights": bomb}, np.array([bomb], dtype=object)):
            path.write_bytes(pickle.dumps(content, protocol=protocol))
            message = r"data\.pkl names \w+.*nothing of it was run"
            with pytest.raises(UserError, match=message) as caught:
                pickles.read_pickle(path)
            assert "\n" not in str(caught.value) and not target.exists()


def test_a_state_cannot_set_attributes_of_an_accepted_class(tmp_path):
    """The opcode BUILD on a class would change it for the whole process."""
    for name in (b"numpy\nndarray\n", b"collections\nOrderedDict\n", b"builtins\nset\n"):
        content = b"\x80\x02c" + name + b"N}X\x04\x00\x00\x00evilK\x01s\x86b."
        (tmp_path / "data.pkl").write_bytes(content)
        with pytest.raises(UserError):
            pickles.read_pickle(tmp_path / "data.pkl")
    assert not hasattr(collections.OrderedDict, "evil")


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"a": np.zeros(100)})[:-40], b"\x78\x9cbroken"]
)
def test_a_damaged_file_gives_a_one_line_error(tmp_path, content):
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(
        UserError,
        match=r"data\.pkl is .*not a pickle of arrays|data\.pkl is not a pickle of arrays",
    ) as caught:
        pickles.read_pickle(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pickles.read_pickle(tmp_path / "nowhere.pkl")
