"""Reads weights that PyTorch saved, without PyTorch and without trusting the file.

A saved state is a pickle, which can run any code when it is loaded. The unpickler here accepts
tensors, storages and ordered dictionaries; any other name in the file is an error. `torch_module`
reads pickled modules in the same way.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import kinds, raw_arrays, zip_members
from dice_jax.untrusted_files.budget import Budget, TooLargeError
from dice_jax.untrusted_files.pickles import CONTAINERS, DAMAGE
from dice_jax.untrusted_files.unpickler import (
    Accepted,
    Plain,
    Source,
    Unpickler,
    UntrustedNameError,
)

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "BFloat16Storage": jnp.dtype("bfloat16"),
}

# Makes a storage of a key, a dtype and a count.
MakeStorage = Callable[[str, np.dtype, int], np.ndarray]


def read_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a `state_dict` written by `torch.save`, as a zip or in the format before PyTorch 1.6.

    Args:
        path: the file. A dictionary with the weights under "state_dict" or "model" is accepted too.

    Returns:
        Arrays by name.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another format, larger than its budget, or contains a
            name that is not accepted.
    """
    return tensors(load(path, TorchUnpickler, "a plain PyTorch state_dict"), path)


def tensors(state: Any, path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a saved dictionary.

    Args:
        state: contents of the file.
        path: of the file, for the message.

    Raises:
        UserError: `state` is not a dictionary.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"{path} is not a plain PyTorch state_dict: it holds no dictionary")
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state.get(key), Mapping) else state
    return {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, np.ndarray)
    }


def load(path: str | os.PathLike, unpickler: type[TorchUnpickler], what: str) -> Any:
    """Reads what `torch.save` wrote in either format, with tensors as read-only arrays.

    Args:
        path: the file.
        unpickler: class that decides which names are accepted.
        what: the expected contents, for the message.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another format, larger than its budget, or contains a
            name that is not accepted; the message is one line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weights at {path}")
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
        budget = Budget.of(path)
        return Plain(budget)(read(path, unpickler, budget))
    except UntrustedNameError as error:
        raise UserError(
            f"{path} names {error}, which is not data: nothing of it was run; get the file again"
        ) from None
    except TooLargeError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except (*DAMAGE, *zip_members.DAMAGE) as error:
        raise UserError(kinds.refusal(path, what, error, "get it again", "npz")) from None


class TorchUnpickler(Unpickler):
    """Accepts tensors and ordered dictionaries; tensors are views of their storages.

    Args:
        source: the pickle.
        budget: of the file.
        make_storage: see `MakeStorage`.
    """

    ignores_attributes = True  # a state_dict has the versions of its layers as one

    def __init__(self, source: Source, budget: Budget, make_storage: MakeStorage):
        super().__init__(source, budget)
        self._make_storage = make_storage
        self._storages: dict[str, np.ndarray] = {}

    def accept(self, module: str, name: str) -> Accepted | None:
        full = f"{module}.{name}"
        if module == "torch" and name in _DTYPES:
            return Accepted(full)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Accepted(full, _rebuild_tensor)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return Accepted(full, lambda unpickler, tensor, *_: tensor)
        if (module, name) == ("collections", "OrderedDict"):
            return Accepted(full, CONTAINERS[module, name])
        return None

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # the old format stores each class with its source code, unused here
            return pid[1]
        kind, storage_type, key, _, count, *view = pid
        name = storage_type.name if isinstance(storage_type, Accepted) else ""
        dtype = _DTYPES.get(name.removeprefix("torch."))
        if kind != "storage" or dtype is None or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage of an unknown type")
        (count,) = raw_arrays.plain_shape((count,))
        if key not in self._storages:
            self._storages[key] = self._make_storage(key, dtype, count)
        if not view or view[0] is None:
            return self._storages[key]
        _, offset, size = view[0]  # a part of another storage, before PyTorch 0.4
        offset, size = raw_arrays.plain_shape((offset, size))
        return self._storages[key][offset : offset + size]


def _read_zip(path: str | os.PathLike, unpickler: type[TorchUnpickler], budget: Budget) -> Any:
    with zip_members.open_archive(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it does not have exactly one data.pkl")
        root = pickles[0].removesuffix("data.pkl")

        def make_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            name = f"{root}data/{key}"
            found, expected = archive.getinfo(name).file_size, count * dtype.itemsize
            if found < expected:
                raise pickle.UnpicklingError(f"the storage {key[:40]} has {found} of {expected}")
            return _storage(zip_members.read_member(archive, name, budget), dtype, count)

        data = zip_members.read_member(archive, pickles[0], budget)
        source = Source(io.BytesIO(data), len(data))
        return unpickler(source, budget, make_storage).load()


def _read_legacy(path: str | os.PathLike, unpickler: type[TorchUnpickler], budget: Budget) -> Any:
    """The old format: three small pickles, the object, the keys of its storages, their contents."""
    length = os.path.getsize(path)
    storages: dict[str, np.ndarray] = {}

    def reserve(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        size = count * dtype.itemsize
        if size > length:
            raise pickle.UnpicklingError("a storage is longer than the file")
        budget.charge(size)
        return storages.setdefault(key, np.zeros(count, dtype))

    with open(path, "rb") as file:
        source = Source(file, length)
        unpickle = lambda: unpickler(source, budget, reserve).load()
        for _ in range(3):  # magic number, protocol version, sizes of C types
            unpickle()
        saved, keys = unpickle(), unpickle()
        if not isinstance(keys, list):
            raise pickle.UnpicklingError("it lists no storages")
        for key in keys:
            (count,) = struct.unpack("<q", source.read(8))
            storage = storages[key]
            if count != storage.size:
                raise pickle.UnpicklingError("a storage has another length than its tensors say")
            storage[:] = _storage(source.read(storage.nbytes), storage.dtype, count)
    return saved


def _storage(data: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    """A storage as an array; any byte but 0 is true."""
    if dtype.kind == "b":
        return np.frombuffer(data, np.uint8, count) != 0
    return np.frombuffer(data, dtype, count)


def _rebuild_tensor(unpickler: Unpickler, storage: Any, offset, size, stride, *_) -> np.ndarray:
    """A tensor as a read-only view of its storage."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise pickle.UnpicklingError("a tensor without a storage")
    (offset,), size = raw_arrays.plain_shape((offset,)), raw_arrays.plain_shape(tuple(size))
    stride = raw_arrays.plain_sizes(tuple(stride))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset > storage.size or (0 not in size and last >= storage.size):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    # As a copy would have it, since a stride of 0 repeats a number without end.
    unpickler.budget.charge(raw_arrays.num_bytes(storage.dtype, size))
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
