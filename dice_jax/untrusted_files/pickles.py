"""Reads other people's pickles without trusting them.

A pickle may run any code when it is opened. The unpickler here knows plain containers, NumPy
arrays, SciPy's sparse matrices and the chumpy objects of the SMPL family, all of them by stand-ins
of our own: neither package is needed and nothing in the file is executed. Any other name in a file
is an error. Arrays that joblib wrote are read too.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from dice_jax.errors import UserError

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
_MAX_DENSE = 10**9  # entries of a sparse matrix written out; the largest here has 25 thousand


def read_pickle(path: str | os.PathLike) -> Any:
    """Reads a pickle of containers, numbers and arrays; chumpy and sparse arrays come out as plain
    ones.

    Args:
        path: written by Python 2 or 3, or by joblib; a zlib or gzip stream of such is accepted.

    Raises:
        FileNotFoundError: no such file.
        UserError: damaged, or it names something that is not data. Nothing of it has been run.
    """
    return _read(path, io.BytesIO)


def read_object_array(path: str | os.PathLike) -> Any:
    """Reads a `.npy` file that holds one pickled Python object, such as FLAME's
    `landmark_embedding.npy`.

    Raises:
        FileNotFoundError: no such file.
        UserError: not such a file, damaged, or it names something that is not data.
    """

    def payload(data: bytes) -> io.BytesIO:
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = read_header(file)
        if not dtype.hasobject:
            raise pickle.UnpicklingError("it holds a plain array, not an object")
        return file

    array = _read(path, payload)
    return array.item() if isinstance(array, np.ndarray) and array.size == 1 else array


class Unread:
    """Stands for what a file holds and nobody here needs, such as PyTorch tensors."""

    def __init__(self, *args: Any):
        del args

    def __setstate__(self, state: Any):
        del state


def _read(path: str | os.PathLike, payload: Callable[[bytes], io.BytesIO]) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file at {path}")
    with open(path, "rb") as file:
        data = file.read()
    try:
        if data[:2] in (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
            data = zlib.decompress(data, wbits=47)  # either header
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
    """A name that no data file needs."""


class _Chumpy:
    """An array that chumpy computes: the values themselves, or entries or another shape of another
    one.
    """

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
    """A SciPy matrix by columns, by rows or by coordinates."""

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
            row, column = (
                (state["indices"], outer) if self.kind == "csc" else (outer, state["indices"])
            )
        dense = np.zeros((rows, columns), np.asarray(state["data"]).dtype)
        np.add.at(dense, (np.asarray(row), np.asarray(column)), np.asarray(state["data"]))
        return dense


_SPARSE = {
    f"{kind}_{what}": type(kind, (_Sparse,), {"kind": kind})
    for kind in ("csc", "csr", "coo")
    for what in ("matrix", "array")
}


class _JoblibArray:
    """What joblib writes in place of an array; the array's bytes follow in the file."""

    def __init__(self, *args):
        del args

    def __setstate__(self, state):
        self.state = state

    def read(self, file: io.BytesIO) -> np.ndarray:
        dtype, shape = self.state["dtype"], tuple(int(n) for n in self.state["shape"])
        if dtype.hasobject:
            return _Unpickler(file).load()
        if self.state.get("numpy_array_alignment_bytes"):
            file.read(file.read(1)[0])
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return flat.reshape(shape, order="F" if self.state.get("order") == "F" else "C").copy()


class _NdarrayTag:
    """`numpy.ndarray` as a name in a file: only `_reconstruct` makes one."""


def _dtype(name, align=False, copy=True):
    del copy  # a state is set afterwards, which must never be NumPy's own copy
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
    """How Python 3 writes b"" for Python 2."""
    return b""


def _reconstructor(cls, base, state):
    del base, state
    if not issubclass(cls, _Chumpy | _Sparse | _JoblibArray | Unread):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


_NUMPY = {
    ("multiarray", "_reconstruct"): lambda subtype, shape, typecode: np.zeros(0, np.int8),
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): lambda data, dtype, shape, order: np.frombuffer(
        data, dtype
    ).reshape(shape, order=order),
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
    """Python's own unpickler in Python, whose steps can be added to: joblib's arrays lie between
    them.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file, encoding="latin1")
        self._bytes = file

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if module.startswith(("numpy.core.", "numpy._core.")):
            found = _NUMPY.get((module.rpartition(".")[2], name))
        elif module.startswith("scipy.sparse"):
            found = _SPARSE.get(name)
        elif (
            module.split(".")[0] == "chumpy"
        ):  # what computes in other ways stands for itself, unread
            found = _Chumpy if name in _CHUMPY_CLASSES else Unread
        if found is None:
            raise _Untrusted(f"{module}.{name}")
        return found

    def persistent_load(self, pid):
        raise _Untrusted(f"the external object {pid!r}")

    def load_build(self):
        # Elsewhere a state could plant attributes on a class or a function.
        if not isinstance(
            self.stack[-2], np.ndarray | np.dtype | _Chumpy | _Sparse | _JoblibArray | Unread
        ):
            raise pickle.UnpicklingError(f"a state for {type(self.stack[-2]).__name__}")
        super().load_build()
        if isinstance(self.stack[-1], _JoblibArray):
            self.stack[-1] = self.stack[-1].read(self._bytes)

    dispatch = pickle._Unpickler.dispatch | {pickle.BUILD[0]: load_build}


def _plain(value: Any) -> Any:
    """Stand-ins as arrays, at any depth of dicts, lists and tuples."""
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
