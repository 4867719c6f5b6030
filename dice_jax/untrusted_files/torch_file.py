"""Reads weights that PyTorch saved, without PyTorch and without trusting the file.

A saved state is a pickle, which can run any code when it is loaded. The unpickler here accepts
tensors, storages and ordered dictionaries; any other name in the file is an error. `torch_module`
reads pickled modules in the same way.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "BFloat16Storage": jnp.dtype("bfloat16"),
}

# What the unpickler raises on a damaged file.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    MemoryError,
    OverflowError,
)


def read_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a `state_dict` written by `torch.save`, as a zip or in the format before PyTorch 1.6.

    Args:
        path: the file. A dictionary with the weights under "state_dict" or "model" is accepted too.

    Returns:
        Arrays by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of another format, or contains a name that is not accepted.
    """
    return tensors(load(path, Unpickler, "a plain PyTorch state_dict"), path)


def tensors(state: Any, path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a saved dictionary.

    Args:
        state: contents of the file.
        path: of the file, for the message.

    Raises:
        ValueError: `state` is not a dictionary.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} is not a plain PyTorch state_dict: it holds no dictionary")
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state.get(key), Mapping) else state
    return {name: value for name, value in state.items() if isinstance(value, np.ndarray)}


def load(path: str | os.PathLike, unpickler: type[Unpickler], what: str) -> Any:
    """Reads what `torch.save` wrote in either format, with tensors as read-only arrays.

    Args:
        path: the file.
        unpickler: class that decides which names are accepted.
        what: the expected contents, for the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or of another format, or contains a name that is not
            accepted; the message is one line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weights at {path}")
    read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
    try:
        return read(path, unpickler)
    except _DAMAGE as error:
        raise ValueError(f"{path} is not {what}: {error or type(error).__name__}") from error


class Unpickler(pickle.Unpickler):
    """Accepts tensors and ordered dictionaries; tensors are views of their storages.

    Args:
        file: the pickle.
        storage: function of key, dtype and count that returns a storage.
    """

    def __init__(self, file: io.BufferedIOBase, storage: Callable[[str, Any, int], np.ndarray]):
        super().__init__(file)
        self._storage, self._storages = storage, {}

    def find_class(self, module: str, name: str):
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid):
        if pid[0] == "module":  # the old format stores each class with its source code, unused here
            return pid[1]
        _, dtype, key, _, count, *view = pid
        if key not in self._storages:
            self._storages[key] = self._storage(key, dtype, count)
        if not view or view[0] is None:
            return self._storages[key]
        _, offset, size = view[0]  # a part of another storage, before PyTorch 0.4
        return self._storages[key][offset : offset + size]


def _read_zip(path, unpickler):
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it does not have exactly one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        read = lambda key, dtype, count: np.frombuffer(
            archive.read(f"{root}data/{key}"), dtype, count
        )
        with archive.open(pickles[0]) as file:
            return unpickler(file, read).load()


def _read_legacy(path, unpickler):
    """The old format: three small pickles, the object, the keys of its storages, their contents."""
    length, storages = os.path.getsize(path), {}

    def reserve(key, dtype, count):
        if not 0 <= count * np.dtype(dtype).itemsize <= length:
            raise pickle.UnpicklingError("a storage is longer than the file")
        return storages.setdefault(key, np.zeros(count, dtype))

    with open(path, "rb") as file:
        unpickle = lambda: unpickler(file, reserve).load()
        for _ in range(3):  # magic number, protocol version, sizes of C types
            unpickle()
        saved, keys = unpickle(), unpickle()
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            storage = storages[key]
            storage[:] = np.frombuffer(file.read(count * storage.itemsize), storage.dtype, count)
    return saved


def _rebuild_tensor(storage: np.ndarray, offset: int, size, stride, *_) -> np.ndarray:
    """A tensor as a read-only view of its storage."""
    size, stride = tuple(size), tuple(stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *stride, *size)) < 0 or (0 not in size and last >= storage.size):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
