"""Reads `.npz` archives of arrays: the one reader for every such file in this package.

A file is checked whole: the names of its members, then the type, the shape and the values of each
array. An error is one line that names the file and the first array at fault.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dice_jax.errors import UserError
from dice_jax.untrusted_files import kinds, npy, raw_arrays, zip_members
from dice_jax.untrusted_files.budget import Budget, TooLargeError

FLOATS, INTEGERS, BOOLS, TEXT = "f", "iu", "b", "U"
NUMBERS = FLOATS + INTEGERS + BOOLS
_KIND_NAMES = {"f": "floating-point numbers", "iu": "integers", "b": "truth values", "U": "text"}


class Array(NamedTuple):
    """What an array of a file has to be.

    Attributes:
        kinds: of its dtype, among the letters of `FLOATS`, `INTEGERS`, `BOOLS` and `TEXT`.
        shape: its sizes, where None is any; None: any shape.
        finite: whether NaN and infinity are refused.
    """

    kinds: str = FLOATS
    shape: tuple[int | None, ...] | None = None
    finite: bool = True


def read_npz(
    path: str | os.PathLike,
    expected: Mapping[str, Array] | None = None,
    *,
    others: Array | None = None,
    only_expected: bool = False,
    what: str = "an archive of arrays (.npz)",
    remedy: str = "get it again",
) -> dict[str, np.ndarray]:
    """Reads an archive and checks it whole.

    Names, types, shapes and sizes of all members are checked before any contents are read.

    Args:
        path: the file.
        expected: arrays by name; all of them have to be there.
        others: what every array of another name has to be; None: no other names.
        only_expected: read these only, whatever else is there.
        what: the file should be, with its article, for the message.
        remedy: what to do about a damaged file, for the message.

    Returns:
        Arrays by name, in the order of the file and in native byte order.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is damaged, is larger than its budget, or an array in it is missing,
            unknown, of another type or shape, or not finite.
    """
    expected = expected or {}
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file at {path}")
    budget = Budget.of(path)
    try:
        with zip_members.open_archive(path) as archive:
            members = _members(archive, path, remedy)
            if only_expected:
                members = {name: members[name] for name in expected if name in members}
            _check_names(members, expected, others, path, remedy)
            total = 0
            for name, member in members.items():
                spec = expected.get(name, others)
                assert spec is not None
                header = _header(archive, member, f"{path}: {name}", remedy)
                _check_declared(header, spec, f"{path}: {name}", remedy)
                size = archive.getinfo(member).file_size
                if size != header.length + raw_arrays.num_bytes(header.dtype, header.shape):
                    raise UserError(f"{path}: {name} is longer or shorter than it says; {remedy}")
                total += size
                budget.fits(total)
            arrays = {
                name: _read(archive, member, budget, f"{path}: {name}", remedy)
                for name, member in members.items()
            }
    except TooLargeError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except UserError:
        raise
    except (*zip_members.DAMAGE, MemoryError) as error:
        raise UserError(kinds.refusal(path, what, error, remedy, "npz")) from None
    for name, array in arrays.items():
        spec = expected.get(name, others)
        if spec is not None and spec.finite and array.dtype.kind == "f":
            _check_finite(array, f"{path}: {name}", remedy)
    return arrays


def _members(archive: zipfile.ZipFile, path: str | os.PathLike, remedy: str) -> dict[str, str]:
    """The members by the name of their array."""
    for member in archive.namelist():
        if not member.endswith(".npy") or not member.isprintable():
            raise UserError(f"{path} has a member that is no array, {member[:80]!r}; {remedy}")
    return {member.removesuffix(".npy"): member for member in archive.namelist()}


def _check_names(members, expected, others, path, remedy):
    missing = [name for name in expected if name not in members]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(f"{path} lacks {', '.join(missing[:3])}{more}; {remedy}")
    unknown = [name for name in members if name not in expected]
    if unknown and others is None:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(f"{path} has an unknown array {unknown[0][:80]!r}{more}; {remedy}")


def _header(archive: zipfile.ZipFile, member: str, name: str, remedy: str) -> npy.Header:
    try:
        with archive.open(member) as file:
            return npy.read_header(file)
    except (*zip_members.DAMAGE, MemoryError) as error:
        raise UserError(f"{name} cannot be read ({_reason(error)}); {remedy}") from None


def _check_declared(header: npy.Header, spec: Array, name: str, remedy: str) -> None:
    if header.dtype.kind not in spec.kinds:
        wanted = " or ".join(text for kind, text in _KIND_NAMES.items() if kind in spec.kinds)
        raise UserError(f"{name} has type {header.dtype}, not {wanted}; {remedy}")
    if spec.shape is None:
        return
    fits = len(header.shape) == len(spec.shape) and all(
        size in (None, found) for size, found in zip(spec.shape, header.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in spec.shape)
        raise UserError(f"{name} has shape {header.shape}, not ({wanted}); {remedy}")


def _read(
    archive: zipfile.ZipFile, member: str, budget: Budget, name: str, remedy: str
) -> np.ndarray:
    try:
        with archive.open(member) as file:
            header = npy.read_header(file)
            size = archive.getinfo(member).file_size
            array = npy.read_contents(file, header, size, budget)
            if file.read(1):  # also checks the checksum, at the end of the member
                raise ValueError("it is longer than it says")
            return array
    except TooLargeError:
        raise
    except (*zip_members.DAMAGE, MemoryError) as error:
        raise UserError(f"{name} cannot be read ({_reason(error)}); {remedy}") from None


def _check_finite(array: np.ndarray, name: str, remedy: str) -> None:
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise UserError(f"{name} has {bad} values that are NaN or infinite; {remedy}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
