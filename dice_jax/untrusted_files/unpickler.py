"""An unpickler that builds nothing but plain containers and stand-ins of a list, within a budget.

A pickle is a program: it can call any function of any module, set the state of any object, and ask
for any amount of memory. Here

- a name in the file is looked up in a list and never imported. It becomes an `Accepted`, and only
  what its entry says is called.
- a state is only given to a `StandIn`, never to an object of NumPy or of Python.
- containers are filled with `list`, `dict` and `set` only. Keys are texts, plain numbers, or a few
  tuples of these: nested ones can be hashed forever, and all others can be made to share one hash.
- every object is charged to the budget of the file.

`plain` then replaces the stand-ins by what they stand for.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from dice_jax.untrusted_files.budget import Budget

_MAX_DEPTH = 100  # levels of nested containers
_MAX_KEY_BITS = 64  # larger integers can all be made to have the same hash
_MAX_KEY_LENGTH = 16
_MAX_TUPLE_KEYS = 1000  # of a file; those of one hash are all compared with each other
_KEYS = str | bytes | int | float | np.integer | np.floating | np.bool_ | None
_SLOT = 8  # bytes of a reference
_ENTRY = 100  # bytes of an entry of a dictionary


class UntrustedNameError(Exception):
    """The file contains a name that is not accepted."""


@dataclasses.dataclass(frozen=True)
class Accepted:
    """A name that a file may contain.

    Attributes:
        name: with its module.
        call: what is called with the unpickler and the arguments in the file, as a function or to
            make a new object; None for a name that is only mentioned.
    """

    name: str
    call: Callable[..., Any] | None = None


class StandIn:
    """Base of what stands in for an object of another library."""

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        """Takes the state that the file holds for the object."""
        raise pickle.UnpicklingError(f"a state for {type(self).__name__}")

    def entries(self) -> dict[Any, Any]:
        """The dictionary that takes the entries of an object of a class derived from `dict`."""
        raise pickle.UnpicklingError(f"an entry of {type(self).__name__}")

    def resolve(self, plain: Plain) -> Any:
        """What the object becomes; `plain` does the same to what it contains."""
        return self


class Source:
    """A file that never returns fewer bytes than were asked for.

    Args:
        file: open for reading, at any position.
        size: of the file, bytes.
    """

    def __init__(self, file: io.BufferedIOBase, size: int):
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._size - self._file.tell():
            raise EOFError("it ends too early")
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends too early")
        return line


class Unpickler(pickle._Unpickler, abc.ABC):
    """Python's unpickler with a list of accepted names and a budget.

    The pure Python version: its memo is a dictionary, while the other allocates as many entries as
    the file says, and arrays that lie between the opcodes can be read when one of them is built.

    Args:
        source: the pickle.
        budget: of the file.
    """

    # Whether the attributes that a file gives to an ordered dictionary are left out, or refused.
    ignores_attributes = False

    # Of `pickle._Unpickler`, which has no type stubs.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(self, source: Source, budget: Budget):
        super().__init__(source, encoding="latin1")  # pyright: ignore[reportArgumentType]
        self.source, self.budget = source, budget
        self.tuple_keys = 0  # so far

    @abc.abstractmethod
    def accept(self, module: str, name: str) -> Accepted | None:
        """The entry of a name, or None where the file must be refused for it."""

    def find_class(self, module: str, name: str) -> Accepted:
        if not (module + name).isprintable():  # it could break the one line of a message
            raise pickle.UnpicklingError("a name with control characters")
        found = self.accept(module, name)
        if found is None:
            raise UntrustedNameError(f"{module}.{name}"[:200])
        return found

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("a name of a registry")

    def persistent_load(self, pid: Any) -> Any:
        raise UntrustedNameError(f"the external object {str(pid)[:80]!r}")

    def call(self, function: Any, arguments: Any) -> Any:
        """Calls what an accepted name stands for."""
        if not isinstance(function, Accepted) or function.call is None:
            name = function.name if isinstance(function, Accepted) else type(function).__name__
            raise pickle.UnpicklingError(f"a call of {name}")
        if not isinstance(arguments, tuple | list):
            raise pickle.UnpicklingError(f"a call of {function.name} without arguments")
        result = function.call(self, *arguments)
        self.budget.charge(sys.getsizeof(result))
        return result

    # Opcodes that call something.

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        if keywords:
            raise pickle.UnpicklingError("an object made with keywords")
        self.load_reduce()

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        self.append(self.call(self.find_class(module, name), self.pop_mark()))

    def load_obj(self) -> None:
        cls, *arguments = self.pop_mark()
        self.append(self.call(cls, arguments))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if self.ignores_attributes and type(target) is collections.OrderedDict:
            return
        # On any other object, a state could set attributes of a class, a function or a dtype.
        if not isinstance(target, StandIn):
            raise pickle.UnpicklingError(f"a state for {type(target).__name__}")
        target.set_state(state, self)

    # Opcodes that fill containers.

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"an entry of {type(self.stack[-1]).__name__}")
        self.budget.charge(2 * _SLOT * len(items))
        self.stack[-1].extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        target = target.entries() if isinstance(target, StandIn) else target
        if type(target) not in (dict, collections.OrderedDict):
            raise pickle.UnpicklingError(f"an entry of {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.check_key(key)
            target[key] = value

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise pickle.UnpicklingError(f"an entry of {type(self.stack[-1]).__name__}")
        self.stack[-1].update(self.checked_keys(items))

    def load_frozenset(self) -> None:
        self.append(frozenset(self.checked_keys(self.pop_mark())))

    def load_bytearray8(self) -> None:
        # Python's own reads the length and allocates it.
        length = int.from_bytes(self.read(8), "little")
        self.append(self.read(length))

    def checked_keys(self, keys: Any) -> list[Any]:
        """The keys of a set, each of them checked."""
        if not isinstance(keys, tuple | list | set | frozenset):
            raise pickle.UnpicklingError("a set of no list")
        for key in keys:
            self.check_key(key)
        return list(keys)

    def check_key(self, key: Any) -> None:
        """Checks that a key can be hashed quickly, and charges its entry."""
        self.budget.charge(_ENTRY)
        if isinstance(key, tuple):
            if len(key) > _MAX_KEY_LENGTH or any(isinstance(part, tuple) for part in key):
                raise pickle.UnpicklingError("a key that is a long or nested tuple")
            self.tuple_keys += 1
            if self.tuple_keys > _MAX_TUPLE_KEYS:
                raise pickle.UnpicklingError(f"more than {_MAX_TUPLE_KEYS} tuples as keys")
            for part in key:
                self.check_key(part)
        elif isinstance(key, int) and key.bit_length() > _MAX_KEY_BITS:
            raise pickle.UnpicklingError("a key that is a huge number")
        elif not isinstance(key, _KEYS):  # complex numbers too can all have the same hash
            raise pickle.UnpicklingError(f"a key that is a {type(key).__name__}")

    dispatch: ClassVar[dict[int, Any]] = {}


def _charged(load: Callable[[Any], None], cost: int, is_new: bool):
    """The opcode, with what it makes charged to the budget."""

    def charged(self: Unpickler) -> None:
        load(self)
        self.budget.charge(cost + (sys.getsizeof(self.stack[-1]) if is_new else 0))

    return charged


def _table() -> dict[int, Any]:
    """What is done for each opcode."""
    ours = dict(
        REDUCE=Unpickler.load_reduce,
        NEWOBJ=Unpickler.load_reduce,
        NEWOBJ_EX=Unpickler.load_newobj_ex,
        INST=Unpickler.load_inst,
        OBJ=Unpickler.load_obj,
        BUILD=Unpickler.load_build,
        APPEND=Unpickler.load_append,
        APPENDS=Unpickler.load_appends,
        SETITEM=Unpickler.load_setitem,
        SETITEMS=Unpickler.load_setitems,
        DICT=Unpickler.load_dict,
        ADDITEMS=Unpickler.load_additems,
        FROZENSET=Unpickler.load_frozenset,
        BYTEARRAY8=Unpickler.load_bytearray8,
    )
    # Opcodes that push a new object, or enter one into the memo, or begin a new stack.
    new = (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
        *("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("LIST", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"),
    )
    stored = ("MARK", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
    opcode = lambda name: getattr(pickle, name)[0]
    table = pickle._Unpickler.dispatch | {opcode(name): load for name, load in ours.items()}
    costs = dict.fromkeys(map(opcode, stored), _ENTRY)
    made = set(map(opcode, new))
    return {
        code: _charged(load, costs.get(code, _SLOT), code in made)
        if code != opcode("STOP")
        else load
        for code, load in table.items()
    }


Unpickler.dispatch.update(_table())


class Plain:
    """Replaces stand-ins by what they stand for, at any depth of containers.

    Each object is replaced once, however often it occurs, and stays shared. The size that the whole
    has when it is walked as a tree must be within the budget too, because a few nested lists of
    shared lists can be walked forever.

    Args:
        budget: of the file.
    """

    def __init__(self, budget: Budget):
        self.budget = budget
        self._done: dict[int, tuple[Any, int]] = {}  # result and size as a tree, by id
        self._open: set[int] = set()
        self._kept: list[Any] = []  # so that no id is used again
        self._sizes = [0]  # of the objects that are being replaced

    def __call__(self, value: Any) -> Any:
        """The value without stand-ins.

        Raises:
            pickle.UnpicklingError: it contains itself, or is nested too deeply.
            TooLargeError: it is larger than the budget as a tree.
        """
        if not isinstance(value, StandIn | dict | list | tuple | np.ndarray):
            size = len(value) if isinstance(value, str | bytes) else 0
            self._add(size)
            return Unread() if isinstance(value, Accepted) else value
        key = id(value)
        if key not in self._done:
            if key in self._open:
                raise pickle.UnpicklingError("it contains itself")
            if len(self._open) >= _MAX_DEPTH:
                raise pickle.UnpicklingError(f"it is nested deeper than {_MAX_DEPTH} levels")
            self._open.add(key)
            self._kept.append(value)
            self._sizes.append(0)
            result = self._replaced(value)
            self._open.remove(key)
            self._done[key] = result, self._sizes.pop()
        result, size = self._done[key]
        self._add(size)
        return result

    def begin(self, value: Any, result: Any) -> None:
        """Names the result for an object before what it contains is replaced, so that this may
        refer to it."""
        self._kept.append(value)
        self._done[id(value)] = result, 0

    def _add(self, size: int) -> None:
        self._sizes[-1] += size + _SLOT
        self.budget.fits(self._sizes[-1])

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, StandIn):
            result = value.resolve(self)
            if isinstance(result, np.ndarray) and not result.dtype.hasobject:
                self._add(result.nbytes)
            return result
        if isinstance(value, np.ndarray):
            self._add(value.nbytes)
            return value
        self.budget.charge(sys.getsizeof(value))
        if isinstance(value, dict):
            return type(value)((key, self(entry)) for key, entry in value.items())
        entries = [self(entry) for entry in value]
        if isinstance(value, list):
            return entries
        make = getattr(type(value), "_make", tuple)  # named tuples, such as sparse tensors
        return make(entries)


class Unread(StandIn):
    """Stands for objects that are accepted but not read, such as PyTorch tensors in a pickle."""

    def set_state(self, state: Any, unpickler: Unpickler) -> None:
        del state, unpickler
