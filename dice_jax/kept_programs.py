"""Traced programs that are kept on disk, so that a new process need not trace them again.

XLA's cache keeps compiled programs, but JAX has to trace a function anew in every process before it
can look there, and to trace the network and the fit takes longer than to run them. Beside XLA's
programs, this module keeps what tracing gives: StableHLO, by `jax.export`.

A program is found by everything that it depends on: the package's code and data, the versions of
JAX and jaxlib, the platform, and the types, shapes and static values of the arguments. Nothing is
kept unless `xla_flags.keep_compiled` was called.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.core
import jax.export

from dice_jax.io import atomic

P = ParamSpec("P")
R = TypeVar("R")
_SUFFIX = ".stablehlo"
_MANY = 64  # programs; older ones are deleted
_DIGEST = hashlib.sha256().digest_size
# An object without content of its own, or an array that is too long to be printed.
_UNCERTAIN = re.compile(r" at 0x|\.\.\.")


class KeptProgram(Generic[P, R]):
    """A function under `jit` whose traced programs are kept on disk.

    Under a transformation, with arrays of several devices, or without a folder for compiled
    programs it is the function itself.
    """

    def __init__(self, function: Callable[P, R], results: Sequence[type]):
        """Registers the results; nothing is read yet.

        Args:
            function: pure and under `jit`. Positional arguments are pytrees of arrays, keyword
                arguments are static.
            results: the dataclasses of which the result consists, all without static fields.
        """
        _register(results)
        self._function: Callable[..., R] = function
        self._programs: dict[Any, Callable[..., R]] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **static: P.kwargs) -> R:
        folder = _folder()
        leaves, structure = jax.tree.flatten(args)
        if folder is None or not _are_plain(leaves):
            return self._function(*args, **static)
        shapes = tuple(map(jax.typeof, leaves))
        key = structure, shapes, tuple(sorted(static.items()))
        if key not in self._programs:
            description = f"{self._function.__module__} {structure} {shapes} {key[-1]}"
            if _UNCERTAIN.search(description):
                return self._function(*args, **static)
            path = folder / f"{_digest(description)}{_SUFFIX}"
            exported = _read(path) or self._trace(path, leaves, structure, static)
            self._programs[key] = jax.jit(exported.call)
        return self._programs[key](leaves)

    def _trace(self, path, leaves, structure, static) -> jax.export.Exported:
        program = lambda leaves: self._function(*jax.tree.unflatten(structure, leaves), **static)
        exported = jax.export.export(jax.jit(program))(leaves)
        data = bytes(exported.serialize())
        with contextlib.suppress(OSError):  # a full disk: it is traced every time
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, hashlib.sha256(data).digest() + data)
            _forget_old(path.parent)
        return exported


def _folder() -> Path | None:
    folder = jax.config.values["jax_compilation_cache_dir"]
    return Path(folder) / "traced" if folder and "://" not in folder else None


def _are_plain(leaves: Sequence[Any]) -> bool:
    """Whether all are arrays of the default device."""
    device = {jax.devices()[0]}
    return not any(
        isinstance(leaf, jax.core.Tracer)
        or (isinstance(leaf, jax.Array) and leaf.devices() != device)
        for leaf in leaves
    )


def _digest(description: str) -> str:
    """Names the program of a description that is made by this code in this environment."""
    flags = jax.config.values
    environment = (
        _of_package(),
        (*map(importlib.metadata.version, ("jax", "jaxlib")), jax.default_backend()),
        (flags["jax_enable_x64"], flags["jax_default_matmul_precision"]),
    )
    return hashlib.sha256(f"{environment} {description}".encode()).hexdigest()


@functools.cache
def _of_package() -> str:
    """A digest of the code and the data of this package: programs contain both."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix == ".py":
            digest.update(path.read_bytes())
        elif path.suffix in (".npz", ".json"):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _read(path: Path) -> jax.export.Exported | None:
    """A kept program; None if there is none, or if it is damaged."""
    try:
        content = path.read_bytes()
        path.touch()
    except OSError:
        return None
    digest, data = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    return jax.export.deserialize(bytearray(data))


def _forget_old(folder: Path) -> None:
    """Deletes the programs that were not used for longest."""
    programs = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: -path.stat().st_mtime)
    for path in programs[_MANY:]:
        path.unlink(missing_ok=True)


def _register(types: Sequence[type]) -> None:
    """Lets `jax.export` store structures of these types."""
    for kind in types:
        with contextlib.suppress(ValueError):  # is known already
            jax.export.register_pytree_node_serialization(
                kind,
                serialized_name=f"{kind.__module__}.{kind.__qualname__}",
                serialize_auxdata=_nothing,
                deserialize_auxdata=lambda _: (),
            )


def _nothing(static_fields: Any) -> bytes:
    if static_fields:
        raise TypeError(f"results of kept programs have no static fields, not {static_fields}")
    return b""
