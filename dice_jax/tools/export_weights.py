"""Exports a finished run: `weights.npz` (matrices in float16), `config.json` and the weight card.

  python -m dice_jax.evaluate --weights=runs/small --data=hand_face_synth --split=test \\
    --out=runs/small/test
  python -m dice_jax.tools.export_weights --workdir=runs/small --evaluation=runs/small/test \\
    --trained_on="2 cores of a ..." --failures=failures.md --out=dice_jax/weights/default

The card, README.md, lists data, steps, hours and metrics from the files of the run and of the
evaluation. How the weights fail cannot be measured: look at predictions and pass the known failures
as a Markdown list, `--failures`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dice_jax import errors
from dice_jax.checkpoints import npz_weights, orbax_checkpoints
from dice_jax.evaluation import mean_file
from dice_jax.evaluation.report import tables
from dice_jax.io import atomic

_MAX_MEGABYTES = 25.0  # larger files do not belong in the repository


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.export_weights")
    for name, what in (
        ("--workdir", "folder of the run; its checkpoint of the best validation is exported"),
        ("--evaluation", "folder that dice_jax.evaluate wrote for this run"),
        ("--trained_on", "the hardware, as it stands on the card"),
        ("--failures", "file with a Markdown list of known failures"),
        ("--out", "folder to write; its name becomes the name of the weights"),
    ):
        parser.add_argument(name, required=True, help=what)
    args = parser.parse_args(argv)
    release(args.workdir, args.evaluation, args.trained_on, args.failures, args.out)


def release(
    workdir: str | Path,
    evaluation: str | Path,
    trained_on: str,
    failures: str | Path,
    out: str | Path,
) -> None:
    """Writes the checkpoint of a run that validates best, with its config and card.

    Args:
        workdir: folder of the run.
        evaluation: folder that `dice_jax.evaluate` wrote for it.
        trained_on: the hardware.
        failures: file with a Markdown list.
        out: folder to write.

    Raises:
        UserError: the weights are too large to ship.
        OSError: a file is missing, or `out` cannot be written.
    """
    workdir = Path(workdir)
    variables, config = npz_weights.load_weights(workdir)
    step, log = orbax_checkpoints.best_step(workdir), read_log(workdir)
    metrics = json.loads((Path(evaluation) / "metrics.json").read_text())
    known_failures = Path(failures).read_text()

    out = atomic.writable_folder(out)
    npz_weights.save_weights(out, variables, config, half_precision=True)
    path = out / npz_weights.WEIGHTS_FILE
    megabytes = path.stat().st_size / 1e6
    if megabytes > _MAX_MEGABYTES:
        raise errors.UserError(f"{path} has {megabytes:.1f} MB, more than {_MAX_MEGABYTES:.0f}")
    text = card(out.name, config, step, log, metrics, trained_on, known_failures)
    atomic.write_text(out / "README.md", text)
    mean = Path(evaluation) / mean_file.FILE
    if mean.is_file():  # for evaluations on a machine without the training data
        atomic.write_bytes(out / mean_file.FILE, mean.read_bytes())
    print(f"{out}: {megabytes:.1f} MB, step {step}")


def read_log(workdir: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl.

    Raises:
        FileNotFoundError: `workdir` is not the folder of a run.
    """
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def hours(log: Sequence[dict[str, float]], batch_size: int) -> float:
    """The duration of a run's updates in hours, from the speeds in its log."""
    total, previous = 0.0, 0.0
    for line in log:
        total += (line["step"] - previous) * batch_size / line["images_per_second"]
        previous = line["step"]
    return total / 3600


def card(
    name: str,
    config: ConfigDict,
    step: int,
    log: Sequence[dict[str, float]],
    evaluation: dict[str, Any],
    trained_on: str,
    failures: str,
) -> str:
    """The card of a set of weights, Markdown.

    Args:
        name: of the weights.
        config: of the run.
        step: of the checkpoint.
        log: lines of metrics.jsonl.
        evaluation: content of metrics.json.
        trained_on: the hardware.
        failures: Markdown list.
    """
    data, batch_size = config.data, config.batch_size
    rows = {
        "these weights": evaluation["model"],
        "mean prediction": evaluation["mean_prediction"],
    }
    epochs = step * batch_size / data.sizes.train
    training = (
        f"{step} of {config.total_steps} steps of batch {batch_size}, seed {config.seed}, "
        f"{hours(log, batch_size):.1f} hours"
    )
    return f"""# Weights `{name}`

- Network: `{config.model.backbone.name}` backbone, fields in `config.json`; stored as float16, \
used as float32.
- Data: {data.name}, {data.sizes.train} training samples seen {epochs:.1f} times. Open hand and \
head; no photograph of a person.
- Training: {training} on {trained_on}.
- License: Apache-2.0. Backbone initialized from EfficientNet-Lite0 (ImageNet).

## Measured

{evaluation["about"]}.

{tables.mesh_table(rows)}
{tables.contact_table(rows)}
{tables.parts_table(rows)}
{tables.detail_table(rows)}
{tables.trust_table(rows)}
The test split is rendered like the training data, with other subjects. It does not measure \
accuracy on photographs.

## Known failures

{failures.strip()}
"""


if __name__ == "__main__":
    errors.run(main)
