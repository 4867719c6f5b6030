"""Trains several configurations with one equal budget, measures each on the test split and
tabulates them (Table 3).

  python -m dice_jax.tools.run_ablations --rows full,single_branch,no_params,no_adversarial,metro --steps 2000

Each row is a file of configs/ on the network of --base; "full" is the base itself. What follows the
options goes to every training: --config.batch_size=8. Trainings go on where they were broken off
and finished rows are not run again: the same command may be given at any time. Writes OUT/ROW/, a
workdir with its evaluation in test/, OUT/ablations.json and OUT/ablations.md, which is also
printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dice_jax.configs.ablations import ABLATIONS
from dice_jax.configs.baselines import BASELINES
from dice_jax.errors import UserError
from dice_jax.evaluation.report import record, tables
from dice_jax.io import atomic
from dice_jax.tools import command_line
from dice_jax.tools.export_weights import hours

BASES = ("small", "tiny", "synthetic", "full")
ROWS = ("full", *ABLATIONS, *BASELINES)
TITLES = {
    "full": "DICE",
    "single_branch": "DICE, single branch",
    "no_in_the_wild": "DICE without in-the-wild data",
    "no_rough": "DICE without supervision on V_F', V_H'",
    "no_depth": "DICE without L_depth",
    "no_params": "DICE without L_params",
    "no_adversarial": "DICE without L_adv",
    "metro": "METRO*",
    "fastmetro": "FastMETRO*",
    "pixie_r": "PIXIE-R",
}


def main(argv: Sequence[str] | None = None) -> None:
    args, overrides = parse(argv)
    out = atomic.writable_folder(args.out)
    for row in args.rows:
        budget = {
            "row": row,
            "base": args.base,
            "steps": args.steps,
            "seed": args.seed,
            "overrides": overrides,
        }
        run_row(
            out / row,
            budget,
            [*overrides, f"--config.seed={args.seed}", f"--config.total_steps={args.steps}"],
            args,
        )
    rows = {row: read_row(out / row) for row in args.rows}
    report = as_markdown(rows)
    (out / "ablations.json").write_text(json.dumps(rows, indent=2) + "\n")
    (out / "ablations.md").write_text(report)
    print(report)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the fields of the configuration to set in every row."""
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--rows",
        default="full,single_branch,no_params,no_adversarial,metro",
        help=f"comma-separated; there are {', '.join(ROWS)}",
    )
    parser.add_argument("--steps", type=int, required=True, help="updates of every row")
    parser.add_argument(
        "--base",
        choices=BASES,
        default="small",
        help="the recipe that the rows vary (default: small)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of every row (default: 0)")
    parser.add_argument(
        "--out", default="runs/ablations", metavar="DIR", help="default: runs/ablations"
    )
    parser.add_argument("--split", default="test", help="to measure on (default: test)")
    parser.add_argument(
        "--max_samples", type=int, metavar="N", help="measure on no more than the first N"
    )
    args, overrides = parser.parse_known_args(argv)
    args.rows = args.rows.split(",")
    if unknown := [row for row in args.rows if row not in ROWS]:
        parser.error(f"no row called {', '.join(unknown)}: there are {', '.join(ROWS)}")
    if wrong := [word for word in overrides if not word.startswith("--config.")]:
        parser.error(
            f"{wrong[0]} is neither an option of this tool nor a field such as --config.batch_size=8"
        )
    if args.steps < 1:
        parser.error("--steps must be at least 1")
    return args, overrides


def run_row(
    folder: Path, budget: Mapping[str, Any], fields: Sequence[str], args: argparse.Namespace
) -> None:
    """Trains and measures one row, as far as that is still to be done.

    Raises:
        UserError: the folder holds a row of another budget, or the training or the evaluation
            failed.
    """
    told = folder / "budget.json"
    if told.exists() and json.loads(told.read_text()) != budget:
        raise UserError(
            f"{folder} holds a row of another budget ({told}): take another --out or delete it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    told.write_text(json.dumps(budget) + "\n")
    if record.is_record(folder / "test"):
        print(f"{budget['row']}: done before")
        return
    name = f"{budget['row']}:{args.base}"
    if budget["row"] == "full":
        name = "full:synthetic" if args.base == "synthetic" else args.base
    print(f"{budget['row']}: {args.steps} steps", flush=True)
    _run("dice_jax.train", f"--config={name}", f"--workdir={folder}", *fields)
    data = json.loads((folder / "config.json").read_text())["data"]
    limit = [f"--max_samples={args.max_samples}"] if args.max_samples else []
    where = [f"--data_dir={data['dir']}"] if data["dir"] else []
    _run(
        "dice_jax.evaluate",
        f"--weights={folder}",
        f"--data={data['name']}",
        f"--split={args.split}",
        f"--out={folder / 'test'}",
        *where,
        *limit,
    )


def read_row(folder: Path) -> dict[str, Any]:
    """What is to be told of a finished row."""
    config = json.loads((folder / "config.json").read_text())
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluation = record.load(folder / "test")
    return {
        "budget": json.loads((folder / "budget.json").read_text()),
        "batch_size": config["batch_size"],
        "train_samples": config["data"]["sizes"]["train"],
        "setting": evaluation.setting,
        "hours": hours(log, config["batch_size"]),
        "summary": evaluation.summaries["model"],
    }


def as_markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The budget in a sentence, the paper's Table 3 and its contact table; [..] are 95 % intervals
    over subjects.
    """
    first = next(iter(rows.values()))
    budget, setting = first["budget"], first["setting"]
    size = (
        f"{first['train_samples']} training pictures"
        if first["train_samples"]
        else "all training pictures"
    )
    set_fields = f", {' '.join(budget['overrides'])}" if budget["overrides"] else ""
    spent = ", ".join(f"{TITLES.get(row, row)} {told['hours']:.2f} h" for row, told in rows.items())
    about = (
        f"Each row: {budget['steps']} steps of batch {first['batch_size']} on {size} of {setting['data']}, recipe "
        f"`configs/{budget['base']}.py`, seed {budget['seed']}{set_fields}. Measured on {setting['samples']} samples of "
        f"the {setting['split']} split, {setting['devices']} x {setting['device']}, {setting['dtype']}. Training took "
        f"{spent}."
    )
    summaries = {TITLES.get(row, row): told["summary"] for row, told in rows.items()}
    return "\n".join(
        [about + "\n", str(tables.ablation_table(summaries)), str(tables.contact_table(summaries))]
    )


def _run(module: str, *words: str) -> None:
    """Runs a command line of the package with its live output; a row's memory is free again after
    it.
    """
    code = subprocess.run([sys.executable, "-m", module, *words]).returncode
    if code:
        raise UserError(
            f"{module} ended with {code}, see above; the same command goes on from there"
        )


if __name__ == "__main__":
    command_line.run(main)
