"""Reads modules that PyTorch pickled, without PyTorch, without their classes, running nothing.

Such a file contains the names of its author's classes. Each class of an accepted package becomes an
inert stub that only keeps its stored state. A file with any other name, `os.system` for instance,
is rejected.
"""

from __future__ import annotations

import os
import pickle
import re
from typing import Any, NamedTuple

import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import numpy_stand_ins, torch_file
from dice_jax.untrusted_files.budget import Budget, TooLargeError
from dice_jax.untrusted_files.pickles import CONTAINERS
from dice_jax.untrusted_files.unpickler import Accepted, Plain, StandIn, Unpickler

# Modules whose names become stubs: networks, configurations and mesh matrices. They are never
# imported.
_INERT = re.compile(
    r"(metro|src\.modeling|apex|torch\.nn|torchvision|timm|transformers|pytorch_transformers"
    r"|yacs|easydict|manopth|mano|smplx|pytorch3d)(\..+)?"
    r"|torch\._C\._nn|argparse|torch\.serialization"
)
_INERT_TORCH = re.compile(r"device|dtype|strided|sparse_\w+|b?float\d+|u?int\d+|bool")
_MAX_DEPTH = 64  # of modules in modules
_BYTES_PER_NAME = 256  # of an entry of the state and its name, at least


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
        UserError: the file is damaged, of another format, larger than its budget, or contains a
            name that is not accepted.
    """
    saved = read_object(path)
    if not isinstance(saved, Stub):
        return Saved(torch_file.tensors(saved, path), {})
    walk = _Walk(Budget.of(path))
    try:
        walk.collect(saved, "", frozenset())
    except (TooLargeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is refused: {error}") from None
    if not walk.state:
        raise UserError(
            f"{path} is not a PyTorch module: the {saved.class_name} in it holds no tensors"
        )
    return Saved(walk.state, walk.modules)


def read_object(path: str | os.PathLike) -> Any:
    """Reads what `torch.save` wrote: arrays, containers, `SparseTensor`, and `Stub` for the rest.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, of another format, larger than its budget, or contains a
            name that is not accepted.
    """
    return torch_file.load(path, _ModuleUnpickler, "a PyTorch module or state_dict")


class Stub(StandIn):
    """Inert stand-in for an object of an accepted class.

    Attributes:
        class_name: without its module.
        fields: the state that the file holds for the object.
    """

    def __init__(self, class_name: str):
        self.class_name = class_name
        self.fields: dict[str, Any] = {}

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # attributes in `__dict__` and in slots
            parts = [part or {} for part in state]
        else:
            parts = [state if isinstance(state, dict) else {"state": state}]
        for part in parts:
            if not isinstance(part, dict):
                raise pickle.UnpicklingError(f"a {self.class_name} with an unknown state")
            for name, value in part.items():
                unpickler.check_key(name)
                self.fields[str(name)] = value

    def entries(self) -> dict[Any, Any]:
        return self.fields

    def resolve(self, plain: Plain) -> Stub:
        result = Stub(self.class_name)
        plain.begin(self, result)  # modules may refer to their parents
        result.fields = {str(name): plain(value) for name, value in self.fields.items()}
        return result


class _ModuleUnpickler(torch_file.TorchUnpickler):
    def accept(self, module: str, name: str) -> Accepted | None:
        full = f"{module}.{name}"
        if (module, name) in _NAMES:
            return Accepted(full, _NAMES[module, name])
        if _INERT.fullmatch(module) or (module == "torch" and _INERT_TORCH.fullmatch(name)):
            class_name = name.rpartition(".")[2]
            return Accepted(full, lambda unpickler, *_: Stub(class_name))
        return super().accept(module, name) or numpy_stand_ins.accept(module, name)


def _sparse_tensor(unpickler, layout, data):
    del unpickler, layout
    indices, values, size = data[:3]
    is_coo = isinstance(indices, np.ndarray) and isinstance(values, np.ndarray)
    if not is_coo or indices.ndim != 2 or indices.dtype.kind not in "iu" or values.ndim != 1:
        raise pickle.UnpicklingError("a sparse tensor without coordinates")
    if indices.shape != (2, len(values)) or not isinstance(size, tuple):
        raise pickle.UnpicklingError("a sparse tensor whose parts have different lengths")
    return SparseTensor(indices, values, size)


def _copy(make):
    """An entry that copies a container of the file."""

    def copy(unpickler, items=()):
        if not isinstance(items, list | tuple):
            raise pickle.UnpicklingError(f"a {make.__name__} of a {type(items).__name__}")
        unpickler.budget.charge(8 * len(items))
        return make(items)

    return copy


def _dict(unpickler, pairs=()):
    return dict(CONTAINERS["collections", "OrderedDict"](unpickler, pairs))


def _frozenset(unpickler, items=()):
    return frozenset(unpickler.checked_keys(items))


def _slice(unpickler, *bounds):
    del unpickler
    if not all(isinstance(bound, int | None) for bound in bounds):
        raise pickle.UnpicklingError("a slice without numbers")
    return slice(*bounds)


_BUILTINS = {
    "list": _copy(list),
    "tuple": _copy(tuple),
    "dict": _dict,
    "frozenset": _frozenset,
    "slice": _slice,
}
_NAMES = {
    **CONTAINERS,
    **{
        (module, name): make
        for name, make in _BUILTINS.items()
        for module in ("builtins", "__builtin__")
    },
    ("torch", "Size"): _copy(tuple),
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse_tensor,
    # The class of the missing values is not called.
    ("collections", "defaultdict"): lambda unpickler, factory=None, pairs=(): _dict(
        unpickler, pairs
    ),
    ("collections", "deque"): lambda unpickler, items=(), length=None: _copy(list)(
        unpickler, items
    ),
}


class _Walk:
    """Collects tensors and attributes of a module and its children under `state_dict`'s names.

    A module that occurs in several places is listed under each name, as PyTorch does, and charged
    to the budget each time, because modules that share their children have any number of names.
    """

    def __init__(self, budget: Budget):
        self.budget = budget
        self.state: dict[str, np.ndarray] = {}
        self.modules: dict[str, dict[str, Any]] = {}

    def collect(self, module: Any, prefix: str, parents: frozenset[int]) -> None:
        """Adds a module, of which `parents` are the ids of those it is in."""
        if not isinstance(module, Stub) or id(module) in parents:
            return
        if len(parents) >= _MAX_DEPTH:
            raise pickle.UnpicklingError(f"its modules are nested deeper than {_MAX_DEPTH} levels")
        fields = module.fields
        self.budget.charge(_BYTES_PER_NAME * (1 + len(fields)) + len(prefix))
        transient = fields.get("_non_persistent_buffers_set") or ()
        for group in ("_parameters", "_buffers"):
            for name, value in _items(fields.get(group)):
                if isinstance(value, np.ndarray) and name not in transient:
                    self.budget.charge(_BYTES_PER_NAME + len(prefix))
                    self.state[prefix + name] = value
        self.modules[prefix.removesuffix(".")] = {
            name: value for name, value in fields.items() if not name.startswith("_")
        }
        for name, child in _items(fields.get("_modules")):
            self.collect(child, f"{prefix}{name}.", parents | {id(module)})


def _items(group: Any) -> list[tuple[str, Any]]:
    """The entries of a group of a module that have names."""
    entries = group.items() if isinstance(group, dict) else ()
    return [(name, value) for name, value in entries if isinstance(name, str)]
