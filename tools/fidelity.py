"""Writes the tables of docs/fidelity.md from the presets.

  python tools/fidelity.py

A test compares the page with the presets, so that it cannot be out of date.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dice_jax.configs import default, full, small
from dice_jax.losses import presets as losses
from dice_jax.models import presets as models

PAGE = Path(__file__).parents[1] / "docs/fidelity.md"
HEADER = "| field | paper | authors' code | default here |\n|---|---|---|---|\n"


def tables() -> dict[str, str]:
    """The generated tables by name, Markdown."""
    loss_presets = (losses.PAPER, losses.RELEASE, losses.FIXED)
    networks = (full.get_config().model, models.release(), small.get_config().model)
    runs = (full.get_config(), default.get_config())
    return {
        "losses": _table("losses", [dataclasses.asdict(preset) for preset in loss_presets]),
        "model": _table("model", [dict(_flat(network)) for network in networks]),
        "run": _table(
            "config", [dict(_flat(run, leave=("model", "losses"))) for run in runs], runs=True
        ),
    }


def filled(page: str) -> str:
    """The page with its tables made anew, each between `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in tables().items():
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        page = f"{before}<!-- {name} -->\n{table}<!-- end -->{after}"
    return page


def _table(section: str, columns: list[Mapping[str, Any]], runs: bool = False) -> str:
    """A row for each field whose columns differ."""
    rows = []
    for field in columns[0]:
        values = [column.get(field, "–") for column in columns]
        if any(value != values[0] for value in values):
            cells = " | ".join(_text(value) for value in values)
            rows.append(f"| `{section}.{field}` | {cells} |\n")
    header = "| field | `full` | default here |\n|---|---|---|\n" if runs else HEADER
    return header + "".join(rows)


def _flat(section: Any, path: str = "", leave: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if name in leave:
            continue
        if hasattr(value, "items"):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield path + name, value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.7g}"
    return str(value).replace("|", "\\|") if value != "" else '""'


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
