"""Shards of a list of files, given by hand or by SLURM."""

import pytest

from dice_jax.errors import UserError
from dice_jax.io import shards


@pytest.mark.parametrize("length", [0, 1, 7, 40])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_item_is_in_one_shard_and_shards_are_equal(length, count):
    items = list(range(length))
    parts = [shards.parse(f"{i}/{count}").pick(items) for i in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(part == sorted(part) for part in parts)


@pytest.mark.parametrize("text", ["0/8", "9/8", "1/0", "1", "a/b", "1/8/2", "-1/8", "", "1.5/2"])
def test_other_words_are_one_line(text):
    with pytest.raises(UserError, match="--shard is I/N with I from 1 to N"):
        shards.parse(text)


def slurm(task, first, count, step=1, last=None):
    """The variables of a task of `sbatch --array=first-last:step`."""
    last = first + (count - 1) * step if last is None else last
    names = {"ID": task, "COUNT": count, "MIN": first, "MAX": last, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


@pytest.mark.parametrize(("first", "step"), [(0, 1), (1, 1), (10, 5)])
def test_the_tasks_of_an_array_are_the_shards(first, step):
    found = [shards.parse("auto", slurm(first + k * step, first, 4, step)) for k in range(4)]
    assert found == [shards.Shard(k + 1, 4) for k in range(4)]


def test_the_variables_are_read_only_where_that_is_asked_for():
    assert shards.parse("2/3", slurm(1, 1, 8)) == shards.Shard(2, 3)


def test_without_an_array_or_with_gaps_in_it_the_line_says_so():
    with pytest.raises(UserError, match="needs SLURM_ARRAY_TASK_ID"):
        shards.parse("auto", {})
    with pytest.raises(UserError, match="needs SLURM_ARRAY_TASK_COUNT"):
        shards.parse("auto", {"SLURM_ARRAY_TASK_ID": "3"})
    for task in (3, 7):  # --array=3,7 of an array of 8: the files would be split otherwise
        with pytest.raises(UserError, match="not in a range of numbers without gaps"):
            shards.parse("auto", slurm(task, 3, 2, last=7))
    with pytest.raises(UserError, match="or alone"):
        shards.parse("auto", slurm(3, 3, 1))
