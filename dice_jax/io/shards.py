"""Splits a list of files over machines: shard I of N, or the tasks of a SLURM array."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from dice_jax.errors import UserError

AUTO = "auto"
_SLURM = "SLURM_ARRAY_TASK_"
_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of equal shares of a list.

    Attributes:
        number: from 1.
        count: of shares.
    """

    number: int
    count: int

    def pick(self, items: Sequence[_Item]) -> list[_Item]:
        """Every `count`-th item, so that neighbors, which often take equally long, are spread.

        The shards of a list have every item once, and their lengths differ by at most one.
        """
        return list(items[self.number - 1 :: self.count])


def parse(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard that a command line asks for.

    Args:
        text: "I/N" with I from 1 to N; or "auto" for that of this task of a SLURM array, the only
            case in which its variables are read.
        environment: of the process.

    Raises:
        UserError: neither of them, or an array that is no range of numbers.
    """
    if text == AUTO:
        return _of_slurm(environment)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard is I/N with I from 1 to N, such as 3/8, or auto; got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def _of_slurm(environment: Mapping[str, str]) -> Shard:
    values = {}
    for name, otherwise in (("ID", None), ("COUNT", None), ("MIN", "0"), ("STEP", "1")):
        value = environment.get(_SLURM + name, otherwise)
        if value is None or not value.isdecimal():
            raise UserError(
                f"--shard auto needs {_SLURM}{name}, which SLURM sets in the tasks of an array "
                "(sbatch --array=1-8); elsewhere, give --shard I/N"
            )
        values[name] = int(value)
    first, step, count = values["MIN"], max(values["STEP"], 1), values["COUNT"]
    steps, rest = divmod(values["ID"] - first, step)
    last = environment.get(_SLURM + "MAX", str(first + (count - 1) * step))
    alone = count == 1 and first > 1  # one task of a larger array, submitted again
    if alone or rest or not 0 <= steps < count or last != str(first + (count - 1) * step):
        raise UserError(
            f"--shard auto: task {values['ID']} of {count} from {first} is not in a range of "
            "numbers without gaps, or alone: submit the whole array again, or give --shard I/N"
        )
    return Shard(steps + 1, count)
