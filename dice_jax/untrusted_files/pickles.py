"""Reads pickles from untrusted sources.

A pickle can run any code when it is loaded. The unpickler here accepts plain containers, NumPy
arrays, SciPy's sparse matrices, the chumpy objects of the SMPL family, and arrays that joblib
wrote. Each accepted name maps to a stand-in defined here, so chumpy and joblib need not be
installed and nothing in the file is executed. Any other name in a file is an error.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from dice_jax.errors import UserError

# What the unpickler and the stand-ins raise on a damaged file.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
    RecursionError,
    MemoryError,
)
# Compressed streams start with one of these: gzip, then zlib at its four levels.
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_EITHER_HEADER = 47  # `wbits` of zlib that accepts gzip and zlib headers
_MAX_DENSE = 10**9  # entries of a sparse matrix as a dense one; MANO's and FLAME's have 25 thousand


def read_pickle(path: str | os.PathLike) -> Any:
    """Reads a pickle of containers, numbers and arrays.

    Args:
        path: a pickle of Python 2 or 3 or of joblib, possibly compressed by zlib or gzip.

    Returns:
        The contents; chumpy and sparse arrays become dense NumPy arrays.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged or contains a name that is not data. Nothing in it was run.
    """
    return _read(path, io.BytesIO)


def read_object_array(path: str | os.PathLike) -> Any:
    """Reads a `.npy` file with one pickled object, such as `landmark_embedding.npy` of DECA.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another kind, or contains a name that is not data.
    """

    def payload(data: bytes) -> io.BytesIO:
        file, npy = io.BytesIO(data), np.lib.format
        first_version = npy.read_magic(file) == (1, 0)
        read_header = npy.read_array_header_1_0 if first_version else npy.read_array_header_2_0
        _, _, dtype = read_header(file)
        if not dtype.hasobject:
            raise pickle.UnpicklingError("it holds a plain array, not an object")
        return file

    array = _read(path, payload)
    return array.item() if isinstance(array, np.ndarray) and array.size == 1 else array


class Unread:
    """Stand-in for objects that are accepted but not read, such as PyTorch tensors."""

    def __init__(self, *args: Any):
        del args

    def __setstate__(self, state: Any):
        del state


def _read(path: str | os.PathLike, payload: Callable[[bytes], io.BytesIO]) -> Any:
    """Reads a file whose pickle `payload` finds in its (decompressed) bytes."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file at {path}")
    with open(path, "rb") as file:
        data = file.read()
    try:
        if data[:2] in _COMPRESSED:
            data = zlib.decompress(data, wbits=_EITHER_HEADER)
        return _plain(_Unpickler(payload(data)).load())
    except _Untrusted as error:
        raise UserError(
            f"{path} names {error}, which is not data: nothing of it was run; get the file again"
        ) from None
    except _DAMAGE as error:
        raise UserError(
            f"{path} cannot be read as a pickle of arrays: {error or type(error).__name__}"
        ) from None


class _Untrusted(Exception):
    """The file contains a name that is not accepted."""


class _Chumpy:
    """Stand-in for chumpy's `Ch` (values), `Select` (entries of another) and `Reshape`."""

    def __init__(self, *args):
        if args:
            raise pickle.UnpicklingError("a chumpy object with arguments")

    def __setstate__(self, state):
        self.state = state

    def plain(self) -> np.ndarray | Unread:
        state = {
            name: _plain(value) for name, value in self.state.items() if name in _CHUMPY_FIELDS
        }
        if "x" in state:
            return np.asarray(state["x"])
        if isinstance(state.get("a", Unread()), Unread):
            return Unread()
        values = np.asarray(state["a"])
        if "idxs" in state:
            values = values.ravel()[np.asarray(state["idxs"], np.int64)]
        shape = state.get("preferred_shape", state.get("newshape"))
        return values if shape is None else values.reshape(tuple(int(n) for n in shape))


_CHUMPY_FIELDS = ("x", "a", "idxs", "preferred_shape", "newshape")
_CHUMPY_CLASSES = ("Ch", "Select", "Reshape")


class _Sparse:
    """Stand-in for SciPy's matrices by columns (csc), by rows (csr) or by coordinates (coo)."""

    kind = ""

    def __init__(self, *args):
        if args:
            raise pickle.UnpicklingError("a sparse matrix with arguments")

    def __setstate__(self, state):
        self.state = state

    def plain(self) -> np.ndarray:
        state = {name.lstrip("_"): value for name, value in self.state.items()}
        rows, columns = (int(n) for n in state["shape"])
        if not 0 <= rows * columns <= _MAX_DENSE:
            raise pickle.UnpicklingError(f"a sparse matrix of {rows} x {columns}")
        if self.kind == "coo":
            row, column = state["coords"] if "coords" in state else (state["row"], state["col"])
        else:
            outer = np.repeat(np.arange(len(state["indptr"]) - 1), np.diff(state["indptr"]))
            inner = state["indices"]
            row, column = (inner, outer) if self.kind == "csc" else (outer, inner)
        dense = np.zeros((rows, columns), np.asarray(state["data"]).dtype)
        np.add.at(dense, (np.asarray(row), np.asarray(column)), np.asarray(state["data"]))
        return dense


_SPARSE = {
    f"{kind}_{what}": type(kind, (_Sparse,), {"kind": kind})
    for kind in ("csc", "csr", "coo")
    for what in ("matrix", "array")
}


class _JoblibArray:
    """Stand-in for joblib's array wrapper, which the bytes of the array follow in the file."""

    def __init__(self, *args):
        del args

    def __setstate__(self, state):
        self.state = state

    def read(self, file: io.BytesIO) -> np.ndarray:
        dtype, shape = self.state["dtype"], tuple(int(n) for n in self.state["shape"])
        if dtype.hasobject:
            return _Unpickler(file).load()
        if self.state.get("numpy_array_alignment_bytes"):
            file.read(file.read(1)[0])  # padding, preceded by its length
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return flat.reshape(shape, order="F" if self.state.get("order") == "F" else "C").copy()


class _NdarrayTag:
    """Stand-in for the name `numpy.ndarray`, which is only an argument of `_reconstruct`."""


def _dtype(name, align=False, copy=True):
    del copy  # always a copy: BUILD sets a state on it, which must not reach NumPy's own object
    return np.dtype(name, align=bool(align), copy=True)


def _scalar(dtype, data=b""):
    if dtype.hasobject:
        raise pickle.UnpicklingError("a NumPy scalar that is an object")
    return np.frombuffer(data if isinstance(data, bytes) else data.encode("latin1"), dtype, 1)[0]


def _encode(text, encoding):
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode("latin1")


def _no_bytes():
    """Stand-in for `bytes`, which Python 3 calls without arguments to write b"" for Python 2."""
    return b""


_STAND_INS = _Chumpy | _Sparse | _JoblibArray | Unread


def _reconstructor(cls, base, state):
    del base, state
    if not issubclass(cls, _STAND_INS):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


def _reconstruct(subtype, shape, typecode):
    """A new array; BUILD sets its contents."""
    del subtype, shape, typecode
    return np.zeros(0, np.int8)


def _frombuffer(data, dtype, shape, order):
    return np.frombuffer(data, dtype).reshape(shape, order=order)


# The accepted names and their stand-ins. The keys of _NUMPY are names in `numpy.core` or
# `numpy._core`.
_NUMPY = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _frombuffer,
}
_NAMES = {
    ("numpy", "ndarray"): _NdarrayTag,
    ("numpy", "dtype"): _dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor_v2"): Unread,
    ("torch._utils", "_rebuild_parameter"): Unread,
    ("torch.storage", "_load_from_bytes"): Unread,
    ("torch.storage", "TypedStorage"): Unread,
    ("torch.storage", "UntypedStorage"): Unread,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
}
_NAMES |= {(module, "_reconstructor"): _reconstructor for module in ("copy_reg", "copyreg")}
_NAMES |= {(module, "object"): object for module in ("__builtin__", "builtins")}
_NAMES |= {(module, "set"): set for module in ("__builtin__", "builtins")}
_NAMES |= {(module, "bytes"): _no_bytes for module in ("__builtin__", "builtins")}


class _Unpickler(pickle._Unpickler):
    """Python's unpickler with a list of accepted names.

    The pure Python version, because the bytes of joblib's arrays lie between the opcodes and must
    be read when one of them is built.
    """

    stack: list[Any]  # of `pickle._Unpickler`, which has no type stubs

    def __init__(self, file: io.BytesIO):
        super().__init__(file, encoding="latin1")
        self._bytes = file

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if module.startswith(("numpy.core.", "numpy._core.")):
            found = _NUMPY.get((module.rpartition(".")[2], name))
        elif module.startswith("scipy.sparse"):
            found = _SPARSE.get(name)
        elif module.split(".")[0] == "chumpy":  # other chumpy operations are accepted but not read
            found = _Chumpy if name in _CHUMPY_CLASSES else Unread
        if found is None:
            raise _Untrusted(f"{module}.{name}")
        return found

    def persistent_load(self, pid):
        raise _Untrusted(f"the external object {pid!r}")

    def load_build(self):
        # On any other object, a state could set attributes of a class or a function.
        target = self.stack[-2]
        if not isinstance(target, np.ndarray | np.dtype | _STAND_INS):
            raise pickle.UnpicklingError(f"a state for {type(target).__name__}")
        super().load_build()  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(self.stack[-1], _JoblibArray):
            self.stack[-1] = self.stack[-1].read(self._bytes)

    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch | {pickle.BUILD[0]: load_build}


def _plain(value: Any) -> Any:
    """Replaces stand-ins by arrays at any depth of dicts, lists, tuples and object arrays."""
    if isinstance(value, _Chumpy | _Sparse):
        return value.plain()
    if isinstance(value, dict):
        return type(value)((key, _plain(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return type(value)([_plain(entry) for entry in value])
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        out = np.empty(value.shape, object)
        for index, entry in np.ndenumerate(value):
            out[index] = _plain(entry)
        return out
    return value
