"""One clear line instead of a traceback, for mistakes that a user can mend.

Command lines end with `errors.run(main)`. A `UserError`, a missing or unwritable file, a flag that
does not parse and a `ValueError` raised by this package itself print as one line and exit with 2.
Everything else is a bug and keeps its traceback; so does all of it when DICE_TRACEBACK is set.
"""

from __future__ import annotations

import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

EXIT_CODE = 2
_PACKAGE = str(pathlib.Path(__file__).resolve().parent)


class UserError(ValueError):
    """What went wrong and how to mend it, in one line."""


def run(
    main: Callable[[Sequence[str]], None],
    rewrite: Callable[[Sequence[str]], Sequence[str]] = lambda argv: argv,
) -> None:
    """`absl.app.run(main)` with one clear line for the errors above.

    Args:
        main: takes the arguments left over by the flags, as with absl.
        rewrite: applied to the command line before its flags are parsed.
    """

    def quietly(argv):
        if not flags.FLAGS["verbosity"].present:  # Orbax and TFDS tell of every file
            logging.set_verbosity(logging.ERROR)
        return main(argv)

    try:
        app.run(quietly, flags_parser=lambda argv: _parse_flags(rewrite(argv)))
    except Exception as error:
        if os.environ.get("DICE_TRACEBACK") or not _is_mendable(error):
            raise
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        sys.exit(EXIT_CODE)


def _parse_flags(argv: Sequence[str]) -> Sequence[str]:
    """Parses absl flags; whatever a flag rejects (an unknown config field, a wrong type) becomes a
    `UserError`.
    """
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        message = str(error).strip("'\"")
        if (
            " " not in message
        ):  # of an unknown field ml_collections tells only the last part of its name
            message = f"unknown config field '{message}' in {' '.join(word for word in argv if message in word)}"
        raise UserError(message) from error


def _is_mendable(error: Exception) -> bool:
    """Whether the user can mend `error`: raised on purpose by this package, or the file system's
    own words.
    """
    if isinstance(error, UserError | OSError):
        return True
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, ValueError) and innermost.startswith(_PACKAGE)
