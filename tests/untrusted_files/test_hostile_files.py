"""Archives, arrays, weights and what is not the file at all are refused in one line."""

import bz2
import pickle
import struct
import zipfile

import numpy as np
import pytest
from support.hostile_files import MEBIBYTE, npy_bytes, refused, zipped

from dice_jax.untrusted_files import npy, npz, pickles, safetensors, torch_file, torch_module

pytestmark = pytest.mark.usefixtures("small_budget")


def npy_of(header: str, contents: bytes = b"") -> bytes:
    """An array file with any header."""
    encoded = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(encoded)) + encoded + contents


def test_a_member_of_an_archive_is_inflated_within_the_budget(tmp_path):
    zeros = npy_bytes(np.zeros(6 * MEBIBYTE, np.float32))
    path = zipped(tmp_path / "weights.npz", {"a.npy": zeros})
    refused(lambda path: npz.read_npz(path, others=npz.Array()), path, "larger than")


def test_many_members_share_one_budget(tmp_path):
    zeros = npy_bytes(np.zeros(MEBIBYTE // 2, np.float32))
    path = zipped(tmp_path / "weights.npz", {f"{i}.npy": zeros for i in range(9)})
    refused(lambda path: npz.read_npz(path, others=npz.Array()), path, "larger than")


def test_a_tensor_of_stride_0_cannot_become_large(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(1).expand(2**20, 2**12)
    torch.save({"weight": tensor}, tmp_path / "state.pth")
    refused(torch_file.read_state, tmp_path / "state.pth", "larger than")


def test_a_storage_of_pytorch_is_inflated_within_the_budget(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "small.pth")
    with zipfile.ZipFile(tmp_path / "small.pth") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    count = 6 * MEBIBYTE
    for name, content in files.items():
        if "/data/" in name:
            files[name] = bytes(4 * count)
        if name.endswith("data.pkl"):
            assert b"K\x02" in content
            files[name] = content.replace(b"K\x02", b"J" + struct.pack("<i", count))
    refused(torch_file.read_state, zipped(tmp_path / "state.pth", files), "larger than")


HEADERS = {
    "a structured type": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "void": "{'descr': '|V4', 'fortran_order': False, 'shape': (1,)}",
    "dates": "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}",
    "a huge shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 1073741824)}",
    "a negative shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "a shape of text": "{'descr': '<f4', 'fortran_order': False, 'shape': 'ab'}",
    "a shape that is too long": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
    "an empty huge shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 10**15)}",
    "an empty shape beyond any": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000)}"
    ),
    "no header": "",
    "no dictionary": "[1, 2]",
    "code": "__import__('os').getpid()",
    "nested brackets": "(" * 5000,
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_an_array_is_not_trusted(tmp_path, name):
    content = npy_of(HEADERS[name], bytes(4))
    (tmp_path / "a.npy").write_bytes(content)
    refused(npy.read_npy, tmp_path / "a.npy")
    refused(npy.map_npy, tmp_path / "a.npy")
    path = zipped(tmp_path / "a.npz", {"a.npy": content})
    refused(lambda path: npz.read_npz(path, others=npz.Array(npz.NUMBERS)), path, "a ")


def test_truth_values_are_true_or_false(tmp_path):
    content = npy_of("{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}", b"\x00\x01\x02\xff")
    path = zipped(tmp_path / "a.npz", {"a.npy": content})
    read = npz.read_npz(path, others=npz.Array(npz.BOOLS))["a"]
    np.testing.assert_array_equal(read.view(np.uint8), [0, 1, 1, 1])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compression_is_refused(tmp_path, method):
    path = zipped(tmp_path / "a.npz", {"a.npy": npy_bytes(np.zeros(3, np.float32))}, method)
    refused(lambda path: npz.read_npz(path, others=npz.Array()), path, "compressed")


TABLES = {
    "nested": b"[" * 10_000,
    "a list": b"[]",
    "offsets beyond the file": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}',
    "a negative offset": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
    "offsets of text": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["a", "b"]}}',
    "a shape for other bytes": b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    "an unknown type": b'{"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}',
    "an unknown field": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "x": 1}}',
    "no fields": b'{"a": 5}',
    "a huge shape": b'{"a": {"dtype": "F32", "shape": [1e30], "data_offsets": [0, 4]}}',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_safetensors_is_not_trusted(tmp_path, name):
    table, path = TABLES[name], tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(table)) + table + bytes(8))
    refused(safetensors.read_safetensors, path)


def test_many_tensors_of_the_same_bytes_are_refused(tmp_path):
    entry = '{"dtype": "F32", "shape": [1048576], "data_offsets": [0, 4194304]}'
    table = ("{" + ",".join(f'"{i}": {entry}' for i in range(200)) + "}").encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(table)) + table + bytes(4 * MEBIBYTE))
    refused(safetensors.read_safetensors, path, "larger than")


NOT_THE_FILE = {
    "web page": (b"<!DOCTYPE html><html>sign in</html>", "web page"),
    "old web page": (b"\n <html>", "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "empty": (b"", "empty"),
    "zeros": (bytes(200), "zeros"),
    "PDF": (b"%PDF-1.4", "PDF"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "Windows line endings": (b"", "Windows line endings"),
    "truncated": (b"", "too early"),
    "bzip2": (bz2.compress(b"x"), "bzip2"),
}


@pytest.mark.parametrize("name", NOT_THE_FILE)
@pytest.mark.parametrize(
    "read",
    [
        pickles.read_pickle,
        torch_file.read_state,
        torch_module.read_module,
        safetensors.read_safetensors,
        npy.read_npy,
        lambda path: npz.read_npz(path, others=npz.Array()),
    ],
)
def test_the_message_says_what_the_file_is(tmp_path, name, read):
    content, expected = NOT_THE_FILE[name]
    whole = pickle.dumps({"v_template": np.arange(60.0).reshape(20, 3)}, protocol=0)
    if name == "Windows line endings":
        content = whole.replace(b"\n", b"\r\n")
    if name == "truncated":
        if read is not pickles.read_pickle:
            pytest.skip("a pickle")
        content = pickle.dumps({"v_template": np.arange(60.0)}, protocol=4)[:-40]
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(content)
    assert expected in refused(read, tmp_path / "MANO_RIGHT.pkl")


@pytest.mark.parametrize("letter", ["\r", "\x0b", "\x1c", "\x85", "\u2028", "\0"])
def test_the_name_of_a_member_cannot_break_the_line_of_the_message(tmp_path, letter):
    path = zipped(tmp_path / "a.npz", {f"a{letter}b.npy": npy_bytes(np.zeros(3, np.float64))})
    message = refused(lambda path: npz.read_npz(path, others=npz.Array(npz.TEXT)), path)
    assert len(message.splitlines()) == 1
