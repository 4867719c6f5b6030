"""Pickles made to crash a reader, to run code or to fill the memory are refused in one line."""

import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from support.hostile_files import MEBIBYTE, reduce, refused, small, text, zipped

import dice_jax
from dice_jax.errors import UserError
from dice_jax.untrusted_files import pickles, torch_module
from dice_jax.untrusted_files.unpickler import Unpickler

ROOT = Path(dice_jax.__file__).parents[1]
pytestmark = pytest.mark.usefixtures("small_budget")


def dtype(name: str, *state: bytes) -> bytes:
    """Opcodes of a dtype, to which a state is given."""
    return reduce("numpy", "dtype", text(name), b"\x89", b"\x88") + b"(" + b"".join(state) + b"tb"


# States that NumPy accepts and that make it read beyond its memory, or take bytes for pointers.
HOSTILE_DTYPES = {
    "no base": ("i8", small(3), text("<"), b"N", small(-1), small(-1), small(0)),
    "subarray": ("i8", small(3), text("<"), b"(", dtype("i8"), b"(", small(2**20), b"tt", b"NN"),
    "names": ("V8", small(3), text("|"), b"N(", text("f"), b"t}", small(8), small(1), small(63)),
    "fields": ("V8", small(3), text("|"), b"NN}", text("f"), b"Ns", small(8), small(1), small(63)),
    "order": ("f8", small(3), text("!"), b"NNN", small(-1), small(-1), small(0)),
    "no tuple": ("f8",),
}


def array(kind: bytes, shape: bytes, data: bytes) -> bytes:
    begun = reduce(
        "numpy.core.multiarray", "_reconstruct", b"cnumpy\nndarray\n", small(0) + b"\x85", text("b")
    )
    return begun + b"(" + small(1) + shape + kind + b"\x89" + data + b"tb"


@pytest.mark.parametrize("name", HOSTILE_DTYPES)
@pytest.mark.parametrize("read", [pickles.read_pickle, torch_module.read_module])
def test_the_state_of_a_dtype_never_reaches_numpy(tmp_path, name, read):
    base, *state = HOSTILE_DTYPES[name]
    path = tmp_path / "data.pkl"
    for content in (
        array(dtype(base, *state), small(4) + b"\x85", b"B" + struct.pack("<I", 32) + bytes(32)),
        reduce("numpy.core.multiarray", "scalar", dtype(base, *state), b"C\x08" + bytes(8)),
    ):
        path.write_bytes(b"\x80\x04" + content + b".")
        refused(read, path)


@pytest.mark.parametrize("kind", ["i8", "f8", "f4", "U4", "S3", "c16"])
def test_no_truncated_state_of_a_dtype_crashes(tmp_path, kind, rng):
    """The states of 46 bytes: any tuple of small values in place of NumPy's own."""
    path = tmp_path / "data.pkl"
    choices = [b"N", small(-1), small(0), small(3), text("<"), text("|"), b")", b"}", small(2**30)]
    for _ in range(60):
        count = rng.integers(0, 10)
        state = [choices[i] for i in rng.integers(0, len(choices), count)]
        data = b"C\x18" + bytes(24)
        path.write_bytes(b"\x80\x04" + array(dtype(kind, *state), small(3) + b"\x85", data) + b".")
        try:
            read = pickles.read_pickle(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert read.nbytes == 24 and read.sum() == 0


@pytest.mark.parametrize("read", [pickles.read_pickle, torch_module.read_module])
@pytest.mark.parametrize(
    "target",
    [
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
        b"ccollections\nOrderedDict\n",
        b"c__builtin__\nset\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n)R",
        b"]",
        b"}",
        small(5),
        text("a"),
        b"c__builtin__\nobject\n)R",
    ],
)
def test_a_state_is_given_to_stand_ins_only(tmp_path, read, target):
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x02" + target + b"}" + text("evil") + small(1) + b"sb.")
    refused(read, path)


def nested_sharing(levels: int, width: int) -> bytes:
    """Lists that hold the list before `width` times, at each of `levels`."""
    content = b"]q\x00"
    for level in range(levels):
        get = b"h" + bytes([level])
        content += b"](" + get * width + b"eq" + bytes([level + 1])
    return content


BOMBS = {
    "shared lists": b"\x80\x02" + nested_sharing(15, 10) + b".",
    "shared lists in a dict": b"\x80\x02}" + text("v_template") + nested_sharing(15, 10) + b"s.",
    "hash of shared tuples": b"\x80\x02)q\x00"
    + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    + b"0}h\x3cK\x01s.",
    "set of shared tuples": b"\x80\x04)q\x00"
    + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    + b"0\x8f(h\x3c\x90.",
    "bytearray of 6 GiB": b"\x80\x05\x96" + struct.pack("<Q", 6 * 2**30) + b".",
    "bytearray by name": b"\x80\x02c__builtin__\nbytearray\n\x8a\x05"
    + (6 * 2**30).to_bytes(5, "little")
    + b"\x85R.",
    "bytes of 8 EiB": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1) + b".",
    "frame of 4 GiB": b"\x80\x04\x95" + struct.pack("<Q", 2**32) + b".",
    "text encoded a million times": b"\x80\x02"
    + text("x" * MEBIBYTE)
    + b"q\x000"
    + text("latin1")
    + b"q\x010("
    + b"c_codecs\nencode\nq\x020"
    + b"h\x02h\x00h\x01\x86R" * 20_000
    + b"l.",
    "list of lists": b"\x80\x02" + b"]" * 20_000 + b".",
    "sets": b"\x80\x04" + b"\x8f" * 20_000 + b".",
    "marks": b"\x80\x02" + b"(" * 20_000 + b".",
    "memo": b"\x80\x04N" + b"\x94" * 20_000 + b".",
    "deeply nested": b"\x80\x02" + b"]" * 3_000 + b"a" * 2_999 + b".",
    "contains itself": b"\x80\x02]q\x00h\x00a.",
    "array of a huge shape": b"\x80\x04"
    + array(
        dtype("f8", small(3), text("<"), b"NNN", small(-1), small(-1), small(0)),
        small(2**30) + small(2**30) + b"\x86",
        b"C\x08" + bytes(8),
    )
    + b".",
    "array of many dimensions": b"\x80\x04"
    + array(
        dtype("f8", small(3), text("<"), b"NNN", small(-1), small(-1), small(0)),
        b"(" + small(1) * 60 + b"t",
        b"C\x08" + bytes(8),
    )
    + b".",
}


# Both readers share the unpickler: the large ones are tried with one of them.
@pytest.mark.parametrize(
    "name, read",
    [(name, pickles.read_pickle) for name in BOMBS]
    + [(name, torch_module.read_object) for name in BOMBS if len(BOMBS[name]) <= MEBIBYTE],
)
def test_a_small_pickle_cannot_become_large(tmp_path, name, read):
    path = tmp_path / "data.pkl"
    content = BOMBS[name]
    if read is torch_module.read_object:
        path = tmp_path / "model.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        path.write_bytes(content)
    refused(read, path)


def equal_hashes(count):
    """Pairs of integers that all have the same hash, by the inverse of Python's hash of a tuple."""
    modulus, first_prime, second_prime = 2**64, 11400714785074694791, 14029467366897019727
    turned = lambda x, bits: (x << bits | x >> (64 - bits)) % modulus
    before = turned(pow(first_prime, -1, modulus), 33)
    found, first = [], 0
    while len(found) < count:
        first += 1
        after_one = 2870177450012600261 + first * second_prime
        after_one = turned(after_one % modulus, 31) * first_prime
        second = (before - after_one) * pow(second_prime, -1, modulus) % modulus
        second -= modulus if second >= 2**63 else 0
        if abs(second) < 2**61 - 1:  # such an integer is its own hash
            found.append((first, second))
    assert len({hash(pair) for pair in found}) == 1
    return found


def test_keys_of_one_hash_do_not_take_forever(tmp_path):
    path = tmp_path / "data.pkl"
    pairs = equal_hashes(1001)
    for content in (dict.fromkeys(pairs), set(pairs), {pair: {pair} for pair in pairs[:501]}):
        path.write_bytes(pickle.dumps(content))
        refused(pickles.read_pickle, path, "tuples as keys")
    few = dict.fromkeys(pairs[:1000])
    path.write_bytes(pickle.dumps(few))
    assert pickles.read_pickle(path) == few
    path.write_bytes(pickle.dumps({np.complex128(1): 2}))
    refused(pickles.read_pickle, path, "a key that is a complex128")


def test_an_index_of_the_memo_allocates_nothing(tmp_path):
    """LONG_BINPUT with the largest index is a table of 64 GB to Python's own unpickler in C."""
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x02K\x05r\xff\xff\xff\xff.")
    assert pickles.read_pickle(path) == 5


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
def test_a_sparse_matrix_cannot_become_large(tmp_path, kind):
    path = tmp_path / "data.pkl"
    matrix = getattr(sparse, f"{kind}_matrix")(([1.0], ([0], [0])), shape=(2, 2))
    for shape in ((2**20, 2**20), (2, -1), (2, 2, 2), "ab"):
        matrix._shape = shape
        path.write_bytes(pickle.dumps(matrix, protocol=2))
        refused(pickles.read_pickle, path)
    if kind != "coo":
        matrix._shape, matrix.indptr = (2, 2), np.array([0, 2**40, 2**40])
        path.write_bytes(pickle.dumps(matrix, protocol=2))
        refused(pickles.read_pickle, path)


@pytest.mark.parametrize("wbits", [15, 31])
def test_a_compressed_pickle_is_inflated_within_the_budget(tmp_path, wbits):
    path = tmp_path / "data.pkl"
    compressor = zlib.compressobj(9, wbits=wbits)
    content = compressor.compress(b"\x80\x02B" + struct.pack("<I", 2**26))
    block = bytes(16 * MEBIBYTE)
    content += b"".join(compressor.compress(block) for _ in range(4)) + compressor.compress(b".")
    path.write_bytes(content + compressor.flush())
    refused(pickles.read_pickle, path, "larger than")


def test_modules_that_share_their_children_are_not_listed_without_end(tmp_path):
    """Ten times more names with every level, in a file that grows by one module."""
    module = lambda children: (
        reduce("torch.nn.modules.module", "Module")
        + b"}"
        + text("_modules")
        + b"}("
        + b"".join(children)
        + b"us"
        + text("_buffers")
        + b"}sb"
    )
    content = module([]) + b"q\x00"
    for level in range(12):
        children = [text(str(i)) + b"h" + bytes([level]) for i in range(10)]
        content += module(children) + b"q" + bytes([level + 1])
    path = zipped(tmp_path / "model.pth", {"archive/data.pkl": b"\x80\x02" + content + b"."})
    refused(torch_module.read_module, path)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_harmless_matrices_are_read(tmp_path, rng):
    dense = rng.normal(size=(6, 9)) * (rng.random((6, 9)) < 0.3)
    path = tmp_path / "data.pkl"
    for protocol in range(6):
        content = {"matrix": np.matrix(dense), "lil": sparse.lil_matrix(dense)}
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        read = pickles.read_pickle(path)
        np.testing.assert_array_equal(read["matrix"], dense)
        np.testing.assert_array_equal(read["lil"], dense)


def test_other_sparse_matrices_are_named(tmp_path):
    for kind in ("dia_matrix", "bsr_matrix", "dok_matrix"):
        matrix = getattr(sparse, kind)(np.eye(4))
        (tmp_path / "data.pkl").write_bytes(pickle.dumps(matrix))
        assert kind in refused(pickles.read_pickle, tmp_path / "data.pkl")


@pytest.mark.parametrize("letter", ["\r", "\x0b", "\x1c", "\x85", "\u2028", "\0"])
def test_a_name_cannot_break_the_line_of_the_message(tmp_path, letter):
    for name in (f"os{letter}\nsystem", f"os\nsys{letter}tem", f"torch.nn\nMod{letter}ule"):
        (tmp_path / "data.pkl").write_bytes(b"\x80\x02c" + name.encode() + b"\n.")
        for read in (pickles.read_pickle, torch_module.read_object):
            message = refused(read, tmp_path / "data.pkl")
            assert len(message.splitlines()) == 1


def test_what_is_shared_stays_shared(tmp_path):
    values = np.arange(4.0)
    (tmp_path / "data.pkl").write_bytes(pickle.dumps([values, {"again": values}, values]))
    first, second, third = pickles.read_pickle(tmp_path / "data.pkl")
    assert first is second["again"] is third


def test_pickletools_knows_every_opcode_that_is_handled():
    """A new opcode of a later Python must be looked at before it is accepted."""
    handled = {chr(code) for code in Unpickler.dispatch}
    assert handled <= {opcode.code for opcode in pickletools.opcodes}
    assert max(opcode.proto for opcode in pickletools.opcodes) == 5


def test_no_other_code_loads_a_pickle():
    """Not even the fuzzer, of files that it has written itself."""
    other = re.compile(
        r"\bc?[pP]ickle\.(loads?|Unpickler)\b|\b(torch|joblib)\.load\(|np\.load\(.*pickle"
    )
    for folder in ("dice_jax", "tools", "configs"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not other.search(path.read_text()), path
