"""Reads the weights that PyTorch has saved, without PyTorch and without trusting the file.

A saved state is a pickle, and a pickle may run any code. The unpickler here knows tensors, storages and ordered
dictionaries; any other name in the file is an error.
"""

from __future__ import annotations

import collections
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

_DTYPES = {
  "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
  "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip

_DAMAGE = (
  pickle.UnpicklingError, zipfile.BadZipFile, struct.error,
  EOFError, KeyError, IndexError, TypeError, AttributeError, ValueError,
)  # fmt: skip


def read_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a `state_dict` written by `torch.save`, in the format since PyTorch 1.6 (a zip) or the one before.

  Args:
    path: the file. A dictionary that keeps the weights under "state_dict" or "model" is accepted too.

  Returns:
    Arrays by name.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not such a file, damaged, or holding anything else than tensors.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f"no weights at {path}")
  try:
    state = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
  except _DAMAGE as error:
    raise ValueError(f"{path} is not a plain PyTorch state_dict: {error}") from error
  for key in ("state_dict", "model"):
    state = state[key] if isinstance(state.get(key), Mapping) else state
  return {name: value for name, value in state.items() if isinstance(value, np.ndarray)}


class _View(NamedTuple):
  """A tensor of the legacy format, whose data comes after the pickle."""

  storage: str
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
  """`storage(key, dtype, count)` says what a storage becomes, `rebuild(storage, offset, size, stride)` a tensor."""

  def __init__(self, file: BinaryIO, storage: Callable, rebuild: Callable):
    super().__init__(file)
    self._storage, self._rebuild = storage, rebuild

  def find_class(self, module: str, name: str):
    if module == "torch" and name in _DTYPES:
      return _DTYPES[name]
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return lambda storage, offset, size, stride, *_: self._rebuild(storage, offset, tuple(size), tuple(stride))
    if (module, name) == ("torch._utils", "_rebuild_parameter"):
      return lambda tensor, *_: tensor
    if (module, name) == ("collections", "OrderedDict"):
      return collections.OrderedDict
    raise pickle.UnpicklingError(f"it names {module}.{name}")

  def persistent_load(self, pid):
    _, dtype, key, _, count, *_ = pid
    return self._storage(key, dtype, count)


def _read_zip(path):
  with zipfile.ZipFile(path) as archive:
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
      raise pickle.UnpicklingError("it has no data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    load = lambda key, dtype, count: np.frombuffer(archive.read(f"{root}data/{key}"), dtype, count)
    with archive.open(pickles[0]) as file:
      return _Unpickler(file, load, _strided).load()


def _read_legacy(path):
  dtypes = {}

  def storage(key, dtype, _):
    dtypes[key] = dtype
    return key

  with open(path, "rb") as file:
    unpickle = lambda: _Unpickler(file, storage, _View).load()
    for _ in range(3):  # magic number, protocol version, sizes of the machine that wrote it
      unpickle()
    state, keys = unpickle(), unpickle()
    storages = {}
    for key in keys:
      (count,) = struct.unpack("<q", file.read(8))
      dtype = np.dtype(dtypes[key])
      storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
  return {name: _strided(storages[view.storage], *view[1:]) for name, view in state.items() if isinstance(view, _View)}


def _strided(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
  """The tensor's own copy of its part of a storage."""
  last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
  if min((offset, *stride, *size)) < 0 or (0 not in size and last >= storage.size):
    raise pickle.UnpicklingError("a tensor reaches beyond its storage")
  strides = [step * storage.itemsize for step in stride]
  return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False).copy()
