"""What stands in for NumPy's arrays, scalars and dtypes, and for SciPy's sparse matrices."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from dice_jax.untrusted_files import raw_arrays
from dice_jax.untrusted_files.unpickler import Accepted, Plain, StandIn, Unpickler


class Dtype(StandIn):
    """Stands for a dtype. Its state may set the byte order and nothing else.

    Args:
        name: such as "f8".
    """

    def __init__(self, name: Any):
        self.dtype = raw_arrays.plain_dtype(name)

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        del unpickler
        # (version, byte order, base and shape of a subarray, names, fields, sizes, flags, ...)
        if not isinstance(state, tuple) or len(state) < 5 or any(state[2:5]):
            raise ValueError("an array of a structured type")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise ValueError("a type without a byte order")
        if self.dtype.kind not in "Ob" and order != "|":
            self.dtype = self.dtype.newbyteorder(order)

    def resolve(self, plain: Plain) -> str:
        del plain
        return str(self.dtype)


class Array(StandIn):
    """Stands for an array, whose state brings its shape, its type and its contents."""

    value: Any = None  # the array, or the list of its objects
    shape: tuple[int, ...] = (0,)

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        # (version, shape, dtype, whether by columns, contents); early files have no version.
        shape, dtype, by_columns, data = state[-4:]
        self.fill(data, dtype, shape, "F" if by_columns else "C", unpickler)

    def fill(self, data: Any, dtype: Any, shape: Any, order: str, unpickler: Unpickler) -> None:
        """Makes the array.

        Raises:
            ValueError: type, shape and contents do not belong together.
            TooLargeError: the budget is spent.
        """
        if self.value is not None:
            raise pickle.UnpicklingError("an array with two states")
        self.shape = raw_arrays.plain_shape(shape)
        dtype = dtype_of(dtype)
        if isinstance(data, str):  # of Python 2
            unpickler.budget.charge(len(data))
            data = data.encode("latin1")
        if dtype.hasobject:
            if not isinstance(data, list) or len(data) != np.prod(self.shape, dtype=np.int64):
                raise ValueError("an array of objects without them")
            if order == "F":
                raise ValueError("an array of objects by columns")
            self.value = data
        else:
            if not isinstance(data, bytes | bytearray):
                raise ValueError("an array without bytes")
            self.value = raw_arrays.array_of(data, dtype, self.shape, order, unpickler.budget)

    def resolve(self, plain: Plain) -> np.ndarray:
        if isinstance(self.value, np.ndarray):
            return self.value
        entries = self.value or []
        plain.budget.charge(8 * len(entries))
        flat = np.empty(len(entries), object)
        for index, entry in enumerate(entries):
            flat[index] = plain(entry)
        return flat.reshape(self.shape)


class Sparse(StandIn):
    """Stands for SciPy's sparse matrices; they become dense.

    Args:
        kind: "csc" by columns, "csr" by rows, "coo" by coordinates, "lil" by lists of rows.
    """

    def __init__(self, kind: str):
        self.kind, self.state = kind, {}

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        del unpickler
        if not isinstance(state, dict):
            raise ValueError("a sparse matrix without a state")
        self.state = state

    def resolve(self, plain: Plain) -> np.ndarray:
        state = {str(name).lstrip("_"): plain(value) for name, value in self.state.items()}
        rows, columns = raw_arrays.plain_shape(state["shape"])
        row, column, data = _COORDINATES[self.kind](state)
        if data.dtype.kind not in "biuf" or any(
            ids.dtype.kind not in "iu" for ids in (row, column)
        ):
            raise ValueError("a sparse matrix that does not hold numbers")
        if not row.shape == column.shape == data.shape or row.ndim != 1:
            raise ValueError("a sparse matrix whose parts have different lengths")
        if row.size and (min(row.min(), column.min()) < 0):
            raise ValueError("a sparse matrix with negative positions")
        plain.budget.charge(rows * columns * data.dtype.itemsize)
        dense = np.zeros((rows, columns), data.dtype)
        np.add.at(dense, (row, column), data)
        return dense


def _by_coordinates(state):
    row, column = state["coords"] if "coords" in state else (state["row"], state["col"])
    return np.asarray(row), np.asarray(column), np.asarray(state["data"])


def _compressed(state):
    """Outer and inner positions, and values, of a matrix by rows or by columns."""
    pointers, inner = np.asarray(state["indptr"]), np.asarray(state["indices"])
    if pointers.ndim != 1 or pointers.dtype.kind not in "iu" or not pointers.size:
        raise ValueError("a sparse matrix without pointers")
    counts = np.diff(pointers.astype(np.int64))
    # Before anything is repeated so many times.
    if pointers[0] != 0 or (counts < 0).any() or pointers[-1] != len(inner):
        raise ValueError("a sparse matrix whose pointers do not fit its entries")
    return np.repeat(np.arange(len(counts)), counts), inner, np.asarray(state["data"])


def _by_columns(state):
    column, row, data = _compressed(state)
    return row, column, data


def _by_lists(state):
    rows = [list(row) for row in state["rows"]]
    counts = [len(row) for row in rows]
    column = np.array([number for row in rows for number in row], np.int64)
    data = np.array([number for row in state["data"] for number in row], np.float64)
    return np.repeat(np.arange(len(rows)), counts), column, data


_COORDINATES = {
    "coo": _by_coordinates,
    "csr": _compressed,
    "csc": _by_columns,
    "lil": _by_lists,
}


def dtype_of(value: Any) -> np.dtype:
    """The dtype of a stand-in."""
    if not isinstance(value, Dtype):
        raise ValueError("an array without a type")
    return value.dtype


def _new_dtype(unpickler, name, align=False, copy=True):
    del unpickler, align, copy
    return Dtype(name)


def _new_array(unpickler, subtype=None, shape=None, typecode=None):
    del unpickler, subtype, shape, typecode
    return Array()


def _from_buffer(unpickler, data, dtype, shape, order="C"):
    array = Array()
    array.fill(data, dtype, shape, order, unpickler)
    return array


def _scalar(unpickler, dtype, data=b""):
    dtype = dtype_of(dtype)
    if dtype.hasobject:
        raise ValueError("a NumPy scalar that is an object")
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(data, bytes):
        raise ValueError("a NumPy scalar without bytes")
    return raw_arrays.array_of(data, dtype, (1,), "C", unpickler.budget)[0]


def _encode(unpickler, text, encoding="latin1"):
    if encoding not in ("latin1", "latin-1", "iso-8859-1") or not isinstance(text, str):
        raise ValueError(f"text in {str(encoding)[:20]}")
    unpickler.budget.charge(len(text))
    return text.encode("latin1")


# Names of NumPy, where "core" is `numpy.core` or `numpy._core`.
_NAMES = {
    ("numpy", "dtype"): _new_dtype,
    ("numpy", "ndarray"): None,  # an argument of `_reconstruct`
    ("numpy", "matrix"): None,
    ("numpy.matrixlib.defmatrix", "matrix"): None,
    ("core.multiarray", "_reconstruct"): _new_array,
    ("core.multiarray", "scalar"): _scalar,
    ("core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


def accept(module: str, name: str) -> Accepted | None:
    """The entry of a name of NumPy or SciPy, or None for any other.

    Raises:
        pickle.UnpicklingError: a kind of sparse matrix that is not read.
    """
    if module.split(".")[:2] == ["scipy", "sparse"]:
        return _sparse(name)
    for core in ("numpy.core.", "numpy._core."):
        module = f"core.{module.removeprefix(core)}" if module.startswith(core) else module
    if (module, name) not in _NAMES:
        return None
    return Accepted(f"{module}.{name}", _NAMES[module, name])


def _sparse(name: str) -> Accepted | None:
    kind, _, what = name.partition("_")
    if what not in ("matrix", "array"):
        return None
    if kind not in _COORDINATES:
        raise pickle.UnpicklingError(
            f"it holds a SciPy {name}, which is not read: convert it by .tocsc() and save it again"
        )

    def new(unpickler, *arguments):
        del unpickler
        if arguments:
            raise pickle.UnpicklingError("a sparse matrix with arguments")
        return Sparse(kind)

    return Accepted(f"scipy.sparse.{name}", new)
