"""A short run of every fuzzed target; `.ci/nightly` does the long one."""

import pytest

pytest.importorskip("PIL")
from tools.fuzz import __main__ as fuzz
from tools.fuzz import child


@pytest.mark.parametrize("name", child.names())
def test_damaged_and_hostile_input_is_read_or_refused_in_one_line(name, capsys):
    assert fuzz.run_target(name, first=0, cases=40, seed=1) == []
    printed = capsys.readouterr().out.split()
    assert printed[:2] == [name, "40"] and int(printed[2]) + int(printed[3]) == 40
