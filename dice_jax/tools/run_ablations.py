"""Trains several configurations with an equal budget and tabulates their metrics (Table 3).

  python -m dice_jax.tools.run_ablations --steps 2000 \\
    --rows full,single_branch,no_params,no_adversarial,metro

Each row is a configuration of dice_jax/configs on the network of --base; "full" is the base itself.
Options that start with --config., such as --config.batch_size=8, are passed to every training. The
same command resumes interrupted trainings and skips finished rows. It writes OUT/ROW/ (a workdir
with its evaluation in test/), OUT/ablations.json and OUT/ablations.md, and prints the latter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dice_jax import errors
from dice_jax.configs.ablations import ABLATIONS, BASES
from dice_jax.configs.baselines import BASELINES
from dice_jax.errors import UserError
from dice_jax.evaluation.report import record, tables
from dice_jax.evaluation.report.paper_tables import TITLES
from dice_jax.io import atomic
from dice_jax.tools.export_weights import hours, read_log

DEFAULT_ROWS = "full,single_branch,no_params,no_adversarial,metro"
ROWS = ("full", *ABLATIONS, *BASELINES)
# Runs a module of this package as a program: its name, then its command line.
RunModule = Callable[..., None]


def run_module(module: str, *words: str) -> None:
    """Runs `python -m module words...` in a process of its own, which frees its memory at the end.

    Raises:
        UserError: the program failed.
    """
    code = subprocess.run([sys.executable, "-m", module, *words]).returncode
    if code:
        raise UserError(f"{module} ended with {code}, see above; the same command resumes there")


def main(argv: Sequence[str] | None = None, run_module: RunModule = run_module) -> None:
    args, overrides = parse(argv)
    out = atomic.writable_folder(args.out)
    for row in args.rows:
        run_row(out / row, row, args, overrides, run_module)
    rows = {row: read_row(out / row) for row in args.rows}
    report = as_markdown(rows)
    atomic.write_text(out / "ablations.json", json.dumps(rows, indent=2) + "\n")
    atomic.write_text(out / "ablations.md", report)
    print(report)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options of this tool, and the config fields to set in every row."""
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.run_ablations")
    add = parser.add_argument
    add(
        "--rows",
        default=DEFAULT_ROWS,
        help=f"comma-separated, of {', '.join(ROWS)} (default: {DEFAULT_ROWS})",
    )
    add("--steps", type=int, required=True, metavar="N", help="updates of every row")
    add(
        "--base",
        choices=list(BASES),
        default="small",
        help="the configuration that the rows change (default: small)",
    )
    add("--seed", type=int, default=0, help="of every row (default: 0)")
    add("--out", default="runs/ablations", metavar="DIR", help="default: runs/ablations")
    add("--split", default="test", help="split to evaluate on (default: test)")
    add("--limit", type=int, metavar="N", help="evaluate on the first N samples only")
    args, overrides = parser.parse_known_args(argv)
    args.rows = args.rows.split(",")
    if unknown := [row for row in args.rows if row not in ROWS]:
        parser.error(f"no row called {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    if wrong := [word for word in overrides if not word.startswith("--config.")]:
        parser.error(f"{wrong[0]} is neither an option nor a field such as --config.batch_size=8")
    if args.steps < 1:
        parser.error("--steps must be at least 1")
    return args, overrides


def run_row(
    folder: Path,
    row: str,
    args: argparse.Namespace,
    overrides: Sequence[str],
    run_module: RunModule,
) -> None:
    """Trains and evaluates one row, unless that is done.

    Args:
        folder: workdir of the row.
        row: one of `ROWS`.
        args, overrides: from `parse`.
        run_module: runs a program of this package.

    Raises:
        UserError: the folder holds a row of another budget, or a program failed.
    """
    _check_budget(
        folder / "budget.json",
        {
            "row": row,
            "base": args.base,
            "steps": args.steps,
            "seed": args.seed,
            "overrides": list(overrides),
        },
    )
    if record.is_record(folder / "test"):
        print(f"{row}: already done")
        return
    print(f"{row}: {args.steps} steps", flush=True)
    run_module(
        "dice_jax.train",
        f"--config={_config_name(row, args.base)}",
        f"--workdir={folder}",
        *overrides,
        f"--config.seed={args.seed}",
        f"--config.total_steps={args.steps}",
    )
    data = json.loads((folder / "config.json").read_text())["data"]
    evaluate = [
        f"--weights={folder}",
        f"--data={data['name']}",
        f"--split={args.split}",
        f"--out={folder / 'test'}",
    ]
    if data["dir"]:
        evaluate.append(f"--data_dir={data['dir']}")
    if row == "full":  # the optimization rows of Table 1 start from the network of this one
        evaluate.append("--fit=keypoints,keypoints:pixie,keypoints:benchmark")
    if args.limit:
        evaluate.append(f"--limit={args.limit}")
    run_module("dice_jax.evaluate", *evaluate)


def _check_budget(path: Path, budget: dict[str, Any]) -> None:
    """Writes the budget of a row, unless the folder has another one already."""
    if path.exists() and json.loads(path.read_text()) != budget:
        raise UserError(
            f"{path.parent} holds a row of another budget ({path}): "
            "choose another --out or delete the folder"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps(budget) + "\n")


def _config_name(row: str, base: str) -> str:
    """The `--config` of a row."""
    if row != "full":
        return f"{row}:{base}"
    return "full:synthetic" if base == "synthetic" else base


def read_row(folder: Path) -> dict[str, Any]:
    """Budget, data, hours and metrics of a finished row."""
    config = json.loads((folder / "config.json").read_text())
    evaluation = json.loads((folder / "test" / record.METRICS_FILE).read_text())
    return {
        "budget": json.loads((folder / "budget.json").read_text()),
        "batch_size": config["batch_size"],
        "train_samples": config["data"]["sizes"]["train"],
        "setting": evaluation["setting"],
        "hours": hours(read_log(folder), config["batch_size"]),
        "summary": evaluation["model"],
    }


def as_markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The budget in words, the paper's Table 3 and its contact table.

    Brackets hold 95 % intervals over subjects.
    """
    first = next(iter(rows.values()))
    budget, setting = first["budget"], first["setting"]
    images = f"{first['train_samples'] or 'all'} training images"
    overrides = f", {' '.join(budget['overrides'])}" if budget["overrides"] else ""
    spent = ", ".join(f"{TITLES.get(row, row)} {done['hours']:.2f} h" for row, done in rows.items())
    about = (
        f"Each row: {budget['steps']} steps of batch {first['batch_size']} on {images} of "
        f"{setting['data']}, config `{budget['base']}`, seed {budget['seed']}{overrides}. "
        f"Measured on {setting['samples']} samples of the {setting['split']} split, "
        f"{setting['devices']} x {setting['device']}, {setting['dtype']}. Training took {spent}."
    )
    summaries = {TITLES.get(row, row): done["summary"] for row, done in rows.items()}
    made = [tables.ablation_table(summaries), tables.contact_table(summaries)]
    return "\n".join([about + "\n", *map(str, made)])


if __name__ == "__main__":
    errors.run(main)
