"""How much memory a file from outside may become: one limit, enforced before memory is taken.

A few bytes can describe a great deal: a compressed block of zeros, an array of a huge declared
shape, a list that contains one list a thousand times. Every reader of this package charges what it
is about to allocate to the budget of the file, and refuses the file when the budget is spent.
"""

from __future__ import annotations

import os

FACTOR = 32  # times the size of the file
SMALLEST = 256 * 2**20  # bytes; what any file may become, however small
LARGEST = 8 * 2**30  # bytes; what no file may exceed, however large


class TooLargeError(ValueError):
    """The file would become larger than its budget."""


class Budget:
    """The memory that one file may take.

    It is 32 times the size of the file, at least 256 MiB and at most 8 GiB.

    Args:
        size: of the file, bytes.

    Attributes:
        limit: bytes that the file may become.
        spent: bytes charged so far.
    """

    def __init__(self, size: int):
        self.limit = min(LARGEST, max(SMALLEST, FACTOR * size))
        self.spent = 0

    @classmethod
    def of(cls, path: str | os.PathLike) -> Budget:
        """The budget of the file at `path`."""
        return cls(os.path.getsize(path))

    def charge(self, count: int) -> None:
        """Charges `count` bytes that are about to be allocated.

        Raises:
            TooLargeError: the budget does not hold them.
        """
        self.fits(self.spent + count)
        self.spent += max(count, 0)

    def fits(self, count: int) -> None:
        """Checks that something of `count` bytes is within the limit, without charging it.

        Raises:
            TooLargeError: it is not.
        """
        if count > self.limit:
            raise TooLargeError(
                f"it would become larger than {self.limit / 2**20:.0f} MiB, the most that is "
                "accepted from a file of its size"
            )
