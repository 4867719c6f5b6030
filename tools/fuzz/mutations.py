"""Damaged copies of valid files: flipped bits, other numbers, parts removed or repeated."""

from __future__ import annotations

import struct

import numpy as np

_NUMBERS = (0, 1, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_TEXTS = (b"\r\n", b"<html>", b"\0" * 64, b"9" * 64, b"NaN", b"-1", b"[" * 2000, b"'", b"{}")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to four random changes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(len(changed) + 1))
        length = int(rng.integers(1, 1 + min(64, max(1, len(changed) // 4))))
        kind = rng.integers(8)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place : place + length] = rng.bytes(length)
        elif kind == 2:
            number = int(rng.choice(np.array(_NUMBERS, np.uint64)))
            packed = struct.pack("<Q", number) if rng.random() < 0.5 else struct.pack(">Q", number)
            size = int(rng.choice([1, 2, 4, 8]))
            changed[place : place + size] = packed[:size] if rng.random() < 0.5 else packed[-size:]
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[place : place + length] * int(rng.integers(1, 20))
        elif kind == 5:
            other = int(rng.integers(len(changed) + 1))
            changed[place:place] = changed[other : other + length]
        elif kind == 6:
            changed[place:place] = _TEXTS[int(rng.integers(len(_TEXTS)))]
        elif rng.random() < 0.2:
            del changed[place:]
    return bytes(changed)
