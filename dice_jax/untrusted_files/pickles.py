"""Reads pickles from untrusted sources.

A pickle can run any code when it is loaded. The unpickler here accepts plain containers, NumPy
arrays, SciPy's sparse matrices, the chumpy objects of the SMPL family, and arrays that joblib
wrote. Each accepted name maps to a stand-in, so chumpy and joblib need not be installed and nothing
in the file is executed. Any other name in a file is an error, and so is a file that would take more
memory than its budget.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zlib
from typing import Any

import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import kinds, npy, numpy_stand_ins, raw_arrays
from dice_jax.untrusted_files.budget import LARGEST, Budget, TooLargeError
from dice_jax.untrusted_files.unpickler import (
    Accepted,
    Plain,
    Source,
    StandIn,
    Unpickler,
    Unread,
    UntrustedNameError,
)

# What the unpickler and the stand-ins raise on a damaged file.
DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    AssertionError,
    struct.error,
    zlib.error,
    RecursionError,
    MemoryError,
)
# Compressed streams start with one of these: gzip, then zlib at its four levels.
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_INFLATED_AT_ONCE = 2**20  # bytes
_EITHER_HEADER = 47  # `wbits` of zlib that accepts gzip and zlib headers


def read_pickle(path: str | os.PathLike) -> Any:
    """Reads a pickle of containers, numbers and arrays.

    Args:
        path: a pickle of Python 2 or 3 or of joblib, possibly compressed by zlib or gzip.

    Returns:
        The contents; chumpy and sparse arrays become dense NumPy arrays.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, would take more memory than its budget, or contains a name
            that is not data. Nothing in it was run.
    """
    return _read(path, "a pickle of arrays", "pkl", lambda source: source)


def read_object_array(path: str | os.PathLike) -> Any:
    """Reads a `.npy` file with one pickled object, such as `landmark_embedding.npy` of DECA.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another kind, or contains a name that is not data.
    """

    def payload(source: Source) -> Source:
        if not npy.read_header(source).dtype.hasobject:
            raise pickle.UnpicklingError("it holds a plain array, not an object")
        return source

    array = _read(path, "a NumPy file with a pickled object", "npy", payload)
    return array.item() if isinstance(array, np.ndarray) and array.size == 1 else array


def _read(path: str | os.PathLike, expected: str, suffix: str, payload) -> Any:
    """Reads a file whose pickle begins where `payload` leaves its (decompressed) source."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file at {path}")
    try:
        budget = Budget.of(path)
        source = _source(path, budget)
        return Plain(budget)(_PickleUnpickler(payload(source), budget).load())
    except UntrustedNameError as error:
        raise UserError(
            f"{path} names {error}, which is not data: nothing of it was run; get the file again"
        ) from None
    except TooLargeError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except DAMAGE as error:
        raise UserError(kinds.refusal(path, expected, error, "get it again", suffix)) from None


def _source(path: str | os.PathLike, budget: Budget) -> Source:
    """The contents of the file, decompressed as far as the budget goes."""
    size = os.path.getsize(path)
    if size > LARGEST:
        raise TooLargeError(f"it has {size / 2**30:.0f} GiB, more than {LARGEST / 2**30:.0f}")
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] in _COMPRESSED:
        return _inflated(data, budget)
    return Source(io.BytesIO(data), len(data))


def _inflated(data: bytes, budget: Budget) -> Source:
    """What is compressed in the bytes, a part at a time."""
    decompressor, inflated = zlib.decompressobj(wbits=_EITHER_HEADER), io.BytesIO()
    while not decompressor.eof:
        part = decompressor.decompress(data, _INFLATED_AT_ONCE)
        data = decompressor.unconsumed_tail
        if not part and not data and not decompressor.eof:
            raise EOFError("it ends too early")
        budget.charge(len(part))
        inflated.write(part)
    size = inflated.tell()
    inflated.seek(0)
    return Source(inflated, size)


class _Chumpy(StandIn):
    """Stands for chumpy's `Ch` (values), `Select` (entries of another) and `Reshape`."""

    def __init__(self):
        self.state: dict[str, Any] = {}

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        del unpickler
        if not isinstance(state, dict):
            raise ValueError("a chumpy object without a state")
        self.state = {name: state[name] for name in _CHUMPY_FIELDS if name in state}

    def resolve(self, plain: Plain) -> np.ndarray | Unread:
        state = {name: plain(value) for name, value in self.state.items()}
        if "x" in state:
            return _numbers(state["x"])
        if isinstance(state.get("a", Unread()), Unread):
            return Unread()
        values = _numbers(state["a"])
        if "idxs" in state:
            ids = np.asarray(state["idxs"], np.int64)
            plain.budget.charge(ids.size * values.itemsize)
            values = values.ravel()[ids]
        shape = state.get("preferred_shape", state.get("newshape"))
        return values if shape is None else values.reshape(tuple(int(n) for n in shape))


_CHUMPY_FIELDS = ("x", "a", "idxs", "preferred_shape", "newshape")
_CHUMPY_CLASSES = ("Ch", "Select", "Reshape")


def _numbers(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError("a chumpy object that does not hold numbers")
    return array


class _JoblibArray(numpy_stand_ins.Array):
    """Stands for joblib's array wrapper, which the bytes of the array follow in the file."""

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        dtype, shape = state["dtype"], raw_arrays.plain_shape(state["shape"])
        plain_dtype = numpy_stand_ins.dtype_of(dtype)
        if plain_dtype.hasobject:
            inner = _PickleUnpickler(unpickler.source, unpickler.budget).load()
            if not isinstance(inner, numpy_stand_ins.Array):
                raise ValueError("an array of objects that is none")
            self.value, self.shape = inner.value, inner.shape
            return
        source = unpickler.source
        if state.get("numpy_array_alignment_bytes"):
            source.read(source.read(1)[0])  # padding, preceded by its length
        count = raw_arrays.num_bytes(plain_dtype, shape)
        order = "F" if state.get("order") == "F" else "C"
        self.fill(source.read(count), dtype, shape, order, unpickler)


def _new(make):
    """An entry that makes a stand-in of any arguments."""
    return lambda unpickler, *arguments: make()


def _new_chumpy(unpickler, *arguments):
    del unpickler
    if arguments:
        raise pickle.UnpicklingError("a chumpy object with arguments")
    return _Chumpy()


def _ordered_dict(unpickler, pairs=()):
    result = collections.OrderedDict()
    for key, value in pairs:
        unpickler.check_key(key)
        result[key] = value
    return result


def _set(unpickler, items=()):
    return set(unpickler.checked_keys(items))


def _no_bytes(unpickler):
    """Python 3 calls `bytes` without arguments to write b"" for Python 2."""
    del unpickler
    return b""


def _reconstructor(unpickler, cls, base=None, state=None):
    """Stands for `copyreg._reconstructor` of pickle protocols 0 and 1; makes only stand-ins."""
    del base, state
    made = unpickler.call(cls, ())
    if not isinstance(made, StandIn):
        raise pickle.UnpicklingError(f"an object of {cls.name}")
    return made


# The accepted names, besides those of NumPy and SciPy, and what is called for them.
CONTAINERS = {
    ("collections", "OrderedDict"): _ordered_dict,
    **{(module, "_reconstructor"): _reconstructor for module in ("copy_reg", "copyreg")},
    **{(module, "object"): None for module in ("__builtin__", "builtins")},
    **{(module, "set"): _set for module in ("__builtin__", "builtins")},
    **{(module, "bytes"): _no_bytes for module in ("__builtin__", "builtins")},
}
_NAMES = CONTAINERS | {
    ("torch._utils", "_rebuild_tensor_v2"): _new(Unread),
    ("torch._utils", "_rebuild_parameter"): _new(Unread),
    ("torch.storage", "_load_from_bytes"): _new(Unread),
    ("torch.storage", "TypedStorage"): _new(Unread),
    ("torch.storage", "UntypedStorage"): _new(Unread),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _new(_JoblibArray),
}


class _PickleUnpickler(Unpickler):
    def accept(self, module: str, name: str) -> Accepted | None:
        if (module, name) in _NAMES:
            return Accepted(f"{module}.{name}", _NAMES[module, name])
        if module.split(".")[0] == "chumpy":  # other chumpy operations are accepted but not read
            make = _new_chumpy if name in _CHUMPY_CLASSES else _new(Unread)
            return Accepted(f"{module}.{name}", make)
        return numpy_stand_ins.accept(module, name)
