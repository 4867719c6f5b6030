"""Says what a file is that could not be read: a web page, a Git LFS pointer, an empty file."""

from __future__ import annotations

import os

_HEAD = 4096  # bytes, enough to recognize a kind
_PAGE = ("a web page", "download it again")
# First bytes of a file, in lower case; what it is then, and what to do if not to get it again.
_STARTS = (
    (b"version https://git-lfs", ("a Git LFS pointer", "run git lfs pull")),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<?xml", ("an XML document", "download it again")),
    (b"%pdf", ("a PDF document", "")),
    (b"\x89hdf", ("an HDF5 file", "")),
    (b"\x93numpy", ("a NumPy array file (.npy)", "")),
    (b"pk\x03\x04", ("a zip archive, as NumPy (.npz) and PyTorch write", "")),
    (b"\x1f\x8b", ("compressed by gzip", "decompress it")),
    (b"bzh", ("compressed by bzip2", "decompress it")),
    (b"\xfd7zxz", ("compressed by xz", "decompress it")),
    (b"7z\xbc\xaf", ("a 7z archive", "unpack it")),
    (b"rar!", ("a RAR archive", "unpack it")),
    (b"\x89png", ("a PNG image", "")),
    (b"\xff\xd8\xff", ("a JPEG image", "")),
)
_WINDOWS = ("a file with Windows line endings in binary contents", "copy it again in binary mode")
# How files of a format begin.
_OWN = {"npz": b"pk\x03\x04", "npy": b"\x93numpy", "pkl": b"\x1f\x8b"}


def describe(path: str | os.PathLike, suffix: str = "") -> tuple[str, str] | None:
    """What the file is, judged by its first bytes.

    Args:
        path: of the file.
        suffix: of the format that it should have; a file that begins like one is not described.

    Returns:
        A description with its article, and what to do about it ("": nothing special). None if
        nothing is recognized.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file", ""
    if not head.strip(b"\0"):
        return "a file of zeros", ""
    start, own = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower(), _OWN.get(suffix, b"\0")
    if own != start[: len(own)] and _has_windows_line_endings(path):
        return _WINDOWS
    return next((kind for magic, kind in _STARTS if start.startswith(magic) and magic != own), None)


def refusal(
    path: str | os.PathLike, expected: str, error: Exception, remedy: str, suffix: str
) -> str:
    """One line on a file that could not be read.

    Args:
        path: of the file.
        expected: what it should be, with its article.
        error: what went wrong in reading it.
        remedy: what to do where the file itself does not tell.
        suffix: "npz" (any zip archive), "npy", "pkl" or another, of what it should be.
    """
    if isinstance(error, MemoryError):
        return f"{path} is not read: there is not enough memory for it"
    kind = describe(path, suffix)
    if kind is not None:
        return f"{path} is {kind[0]}, not {expected}: {kind[1] or remedy}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{path} is not {expected} ({reason}): {remedy}"


def _has_windows_line_endings(path: str | os.PathLike) -> bool:
    """Whether every line feed follows a carriage return, as after a copy in text mode."""
    with open(path, "rb") as file:
        data = file.read(2**20)
    lines = data.count(b"\n")
    return lines > 0 and lines == data.count(b"\r\n")
