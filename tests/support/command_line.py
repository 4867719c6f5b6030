"""Runs a command line as a user does, inside the test process."""

from collections.abc import Sequence

import pytest

from dice_jax import errors


def exit_code(main: errors.Main, argv: Sequence[str]) -> int:
    """The exit code of a command line; an error of the user is printed and gives 2."""
    with pytest.raises(SystemExit) as exited:
        errors.run(main, argv)
    return exited.value.code or 0
