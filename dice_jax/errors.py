"""Command lines that report a user's mistake in one line instead of a traceback.

Every command line ends with `errors.run(main)`. A `UserError`, an error of the file system, a flag
that does not parse and a `ValueError` raised by this package are printed as one line on stderr, and
the exit code is 2. Every other exception is a bug and keeps its traceback. With DICE_TRACEBACK set,
all of them keep it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from absl import app, flags, logging

EXIT_CODE = 2
_PACKAGE = str(pathlib.Path(__file__).resolve().parent)

Main = Callable[[list[str]], int | None]


class UserError(ValueError):
    """What went wrong and how to correct it, in one line.

    Attributes:
        details: further lines, printed above that line.
    """

    def __init__(self, message: str, details: Sequence[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


def run(
    main: Main,
    argv: Sequence[str] | None = None,
    *,
    absl_flags: bool = False,
    rewrite: Callable[[Sequence[str]], Sequence[str]] = list,
) -> NoReturn:
    """Runs a command line and exits with its exit code.

    Args:
        main: takes the words after the program's name and parses them itself, as argparse does;
            returns the exit code, where None is 0. With `absl_flags` it takes what absl takes: the
            program's name and the words that are not flags.
        argv: the words after the program's name; those of this process by default.
        absl_flags: whether the flags are absl's, to be parsed before `main` is called.
        rewrite: applied to the command line before absl parses it.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _run_with_flags(main, words, rewrite) if absl_flags else main(words)
    except Exception as error:
        if os.environ.get("DICE_TRACEBACK") or not _is_user_error(error):
            raise
        report(error)
        code = EXIT_CODE
    sys.exit(code)


@contextlib.contextmanager
def exit_at_once() -> Iterator[None]:
    """Ends the process when the block ends with an error, whatever its threads are waiting for.

    Readers of data, writers of checkpoints and the other processes of a distributed run may wait
    for a thread that is not there any more; a process that has failed must not wait with them.
    """
    try:
        yield
    except BaseException as error:
        is_exit = isinstance(error, SystemExit)
        code = error.code if isinstance(error, SystemExit) else 1
        if is_exit and code in (0, None):
            raise
        if not is_exit:
            traceback.print_exc()
        elif isinstance(code, str):
            print(code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def report(error: Exception) -> None:
    """Prints an error as one line on stderr, below its details if it has any."""
    details = [f"  {line}" for line in getattr(error, "details", ())]
    message = " ".join(str(error).split())
    print(*details, f"error: {message}", sep="\n", file=sys.stderr)


def argument_parser(doc: str | None, prog: str) -> argparse.ArgumentParser:
    """A parser whose `--help` starts with the whole docstring of a module.

    Args:
        doc: the docstring.
        prog: the command that runs the module, such as "python -m dice_jax.tools.doctor".
    """
    return argparse.ArgumentParser(
        prog=prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _run_with_flags(
    main: Main, words: Sequence[str], rewrite: Callable[[Sequence[str]], Sequence[str]]
) -> int | None:
    """Parses absl's flags and calls `main`; returns its exit code."""
    if {"--help", "-help", "-h"} & set(words):
        print(_help(main))
        return 0

    def quiet_main(argv: list[str]) -> int | None:
        if not flags.FLAGS["verbosity"].present:  # Orbax and TFDS log a line for each file
            logging.set_verbosity(logging.ERROR)
        return main(argv)

    # absl exits by itself unless main raises.
    app.run(
        quiet_main,
        argv=[sys.argv[0], *words],
        flags_parser=lambda argv: _parse_flags(rewrite(argv)),
    )


def _help(main: Main) -> str:
    """The docstring and the flags of the module that defines `main`, also for a console script."""
    module = sys.modules[main.__module__]
    # absl files the flags of a module that runs as a script under the script's path.
    key = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    name = module.__spec__.name if module.__spec__ else main.__module__
    return f"usage: python -m {name} [flags]\n\n{module.__doc__}\n{flags.FLAGS.module_help(key)}"


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses absl's flags; an unknown config field or a value of a wrong type is a `UserError`."""
    try:
        return flags.FLAGS(argv)
    except Exception as error:  # a configuration is a program, which may raise anything
        if place := _place_in_config(error, argv):
            raise UserError(place) from error
        message = str(error).strip()
        if message[:1] in ("'", '"'):  # the name alone, quoted
            message = message.strip("'\"")
        if "Traceback" in message:  # of a config file: its last line is the error
            message = message.splitlines()[-1].partition(": ")[2]
        if " " not in message:  # ml_collections gives the last part of an unknown field's name
            given = " ".join(word for word in argv if message in word)
            message = f"unknown config field '{message}' in {given}"
        raise UserError(message) from error


def _place_in_config(error: BaseException, argv: Sequence[str]) -> str | None:
    """One line with the place of an error in a configuration file of the user, if it is one."""
    named = [word.rpartition("=")[2].partition(":")[0] for word in argv]
    files = {os.path.abspath(name) for name in named if name.endswith(".py")}
    cause: BaseException | None = error
    while cause is not None:
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
        if isinstance(cause, SyntaxError) and os.path.abspath(cause.filename or "") in files:
            return f"{cause.filename}, line {cause.lineno}: {type(cause).__name__}: {cause.msg}"
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if os.path.abspath(frame.filename) in files:
                return f"{frame.filename}, line {frame.lineno}: {reason}"
        cause = cause.__cause__ or cause.__context__
    return None


def _is_user_error(error: Exception) -> bool:
    """Whether the user can correct `error`.

    These are the errors that this package raises on purpose, and those of the file system.
    """
    if isinstance(error, UserError | OSError):
        return True
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, ValueError) and innermost.startswith(_PACKAGE)
