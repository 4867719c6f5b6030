"""One clear line for what a user of the tools can mend, as `dice_jax.errors` has it, around
argparse.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from dice_jax.errors import EXIT_CODE, UserError


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose `--help` begins with the whole of a module's docstring."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(main: Callable[[list[str] | None], None]) -> None:
    """Calls `main(None)`; a `UserError` or an error of the file system prints as one line and exits
    with 2.
    """
    try:
        main(None)
    except (UserError, OSError) as error:
        if os.environ.get("DICE_TRACEBACK"):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_CODE)
