"""Reads modules that PyTorch pickled, without PyTorch, without their classes, running nothing.

Such a file contains the names of its author's classes. Each class of an accepted package becomes an
inert stub that only keeps its stored state. A file with any other name, `os.system` for instance,
is rejected.
"""

from __future__ import annotations

import collections
import os
import pickle
import re
from typing import Any, NamedTuple

import numpy as np

from dice_jax.untrusted_files import torch_file

# Modules whose names become stubs: networks, configurations and mesh matrices. They are never
# imported.
_INERT = re.compile(
    r"(metro|src\.modeling|apex|torch\.nn|torchvision|timm|transformers|pytorch_transformers"
    r"|scipy\.sparse|yacs|easydict|manopth|mano|smplx|pytorch3d)(\..+)?"
    r"|torch\._C\._nn|argparse|torch\.serialization|numpy\._?core\.multiarray"
)
_INERT_TORCH = re.compile(r"device|dtype|strided|sparse_\w+|b?float\d+|u?int\d+|bool")
_BUILTINS = {
    cls.__name__: cls
    for cls in (set, frozenset, list, dict, tuple, slice, object, complex, bytearray)
}
# These return new objects, because BUILD sets a state on them.
_NUMPY = {
    "_reconstruct": lambda subtype, shape, typecode: np.zeros(0, np.int8),
    "dtype": lambda name, *_: np.dtype(name, copy=True),
}


class Saved(NamedTuple):
    """A pickled module.

    Attributes:
        state: tensors by name, as in `state_dict`.
        modules: the public attributes of each module, by the name of the module ("" is the root).
    """

    state: dict[str, np.ndarray]
    modules: dict[str, dict[str, Any]]


class SparseTensor(NamedTuple):
    """A PyTorch COO tensor.

    Attributes:
        indices: (2, N) rows and columns.
        values: (N,).
        size: shape of the tensor.
    """

    indices: np.ndarray
    values: np.ndarray
    size: tuple[int, ...]


def read_module(path: str | os.PathLike) -> Saved:
    """Reads a pickled `torch.nn.Module`, or a state dict, which has no `modules`.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of another format, or contains a name that is not accepted.
    """
    saved = read_object(path)
    if not isinstance(saved, Stub):
        return Saved(torch_file.tensors(saved, path), {})
    state, modules = {}, {}
    _walk(saved, "", state, modules, frozenset())
    if not state:
        raise ValueError(
            f"{path} is not a PyTorch module: the {type(saved).__name__} in it holds no tensors"
        )
    return Saved(state, modules)


def read_object(path: str | os.PathLike) -> Any:
    """Reads what `torch.save` wrote: arrays, containers, `SparseTensor`, and `Stub` for the rest.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of another format, or contains a name that is not accepted.
    """
    return torch_file.load(path, _ModuleUnpickler, "a PyTorch module or state_dict")


class Stub:
    """Inert stand-in for an object of an accepted class; its state becomes attributes."""

    def __init__(self, *args, **kwargs):
        self.args = args

    def __setstate__(self, state):
        if isinstance(state, tuple) and len(state) == 2:  # attributes in `__dict__` and in slots
            state = {**(state[0] or {}), **(state[1] or {})}
        vars(self).update(state if isinstance(state, dict) else {"state": state})

    def __setitem__(self, key, value):  # entries of classes derived from dict
        vars(self)[key] = value


class _ModuleUnpickler(torch_file.Unpickler):
    def find_class(self, module: str, name: str):
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return _BUILTINS[name]
        if (module, name) in (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")):
            return _reconstruct
        if (module, name) == ("torch", "Size"):
            return tuple
        if (module, name) == ("torch._utils", "_rebuild_sparse_tensor"):
            return lambda _, data: SparseTensor(*data[:3])
        if module.split(".")[0] == "numpy" and name in _NUMPY:
            return _NUMPY[name]
        if (module, name) == ("numpy", "ndarray"):
            return Stub  # only an argument of `_reconstruct`
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode("latin1")
        if (module, name) in (("collections", "defaultdict"), ("collections", "deque")):
            return getattr(collections, name)
        if _INERT.fullmatch(module) or (module == "torch" and _INERT_TORCH.fullmatch(name)):
            return type(name.rpartition(".")[2], (Stub,), {"__module__": module})
        return super().find_class(module, name)


def _reconstruct(cls, base, state):
    """Stand-in for `copyreg._reconstructor` of pickle protocols 0 and 1; builds only stubs."""
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise pickle.UnpicklingError(f"it builds a {cls}")
    return cls()


def _walk(module, prefix, state, modules, parents):
    """Collects tensors and attributes of a module and its children under `state_dict`'s names."""
    if not isinstance(module, Stub) or id(module) in parents:
        return
    fields = vars(module)
    transient = fields.get("_non_persistent_buffers_set") or ()
    for group in ("_parameters", "_buffers"):
        for name, value in (fields.get(group) or {}).items():
            if isinstance(value, np.ndarray) and name not in transient:
                state[prefix + name] = value
    modules[prefix.removesuffix(".")] = {
        name: value for name, value in fields.items() if not name.startswith("_")
    }
    for name, child in (fields.get("_modules") or {}).items():
        _walk(child, f"{prefix}{name}.", state, modules, parents | {id(module)})
