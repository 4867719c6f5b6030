"""Makes the files of a release of a finished run: `weights.npz` (matrices in float16),
`config.json`, and the card.

  python -m dice_jax.evaluate --weights=runs/small --data=hand_face_synth --split=test --out=runs/small/test
  python -m dice_jax.tools.export_weights --workdir=runs/small --evaluation=runs/small/test --trained_on="2 cores of a ..." \\
    --failures=failures.md --out=dice_jax/weights/default

The card, README.md, tells data, steps, hours and figures from the files of the run and of the
evaluation. What a measurement cannot tell, how the weights fail, somebody has to look at and write
down: a Markdown list, `--failures`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from dice_jax import errors
from dice_jax.checkpoints import npz_weights, orbax_checkpoints
from dice_jax.evaluation.report import tables
from dice_jax.io import atomic

_MAX_MEGABYTES = 25.0  # what a repository can carry


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    release(values.workdir, values.evaluation, values.trained_on, values.failures, values.out)


def release(
    workdir: str | Path,
    evaluation: str | Path,
    trained_on: str,
    failures: str | Path,
    out: str | Path,
) -> None:
    """Writes the release of the newest checkpoint of a run.

    Args:
        workdir: of the run.
        evaluation: folder that `dice_jax.evaluate` wrote for it.
        trained_on: the machine.
        failures: file with a Markdown list.
        out: folder to write.

    Raises:
        UserError: the weights are too large to ship.
        OSError: a file is missing, or `out` cannot be written.
    """
    workdir = Path(workdir)
    variables, config = npz_weights.load_weights(workdir)
    step, log = orbax_checkpoints.newest_step(workdir), read_log(workdir)
    figures = json.loads((Path(evaluation) / "metrics.json").read_text())
    failures = Path(failures).read_text()

    out = atomic.writable_folder(out)
    npz_weights.save_weights(out, variables, config, half_precision=True)
    megabytes = (out / npz_weights.WEIGHTS_FILE).stat().st_size / 1e6
    if megabytes > _MAX_MEGABYTES:
        raise errors.UserError(
            f"{out / npz_weights.WEIGHTS_FILE} has {megabytes:.1f} MB, more than {_MAX_MEGABYTES:.0f}"
        )
    (out / "README.md").write_text(card(out.name, config, step, log, figures, trained_on, failures))
    print(f"{out}: {megabytes:.1f} MB, step {step}")


def read_log(workdir: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl.

    Raises:
        FileNotFoundError: `workdir` is not one of a run.
    """
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def hours(log: list[dict[str, float]], batch_size: int) -> float:
    """How long the updates of a run took, from its own measurements of its speed."""
    steps = [
        line["step"] - before for line, before in zip(log, [0, *(line["step"] for line in log)])
    ]
    return (
        sum(n * batch_size / line["images_per_second"] for n, line in zip(steps, log, strict=True))
        / 3600
    )


def card(
    name: str,
    config: ConfigDict,
    step: int,
    log: list[dict[str, float]],
    evaluation: dict[str, Any],
    trained_on: str,
    failures: str,
) -> str:
    """The card of a set of weights, Markdown.

    Args:
        name: of the weights.
        config: of the run.
        step: that the weights are from.
        log: lines of metrics.jsonl.
        evaluation: metrics.json.
        trained_on: the machine.
        failures: Markdown list.
    """
    data, batch_size = config.data, config.batch_size
    rows = {
        title: evaluation[key]
        for title, key in (("these weights", "model"), ("mean prediction", "mean_prediction"))
    }
    seen = (
        f"{data.sizes.train} training samples seen {step * batch_size / data.sizes.train:.1f} times"
    )
    steps, took = f"{step} of {config.total_steps} steps", f"{hours(log, batch_size):.1f} hours"
    training = f"{steps} of batch {batch_size}, seed {config.seed}, {took}"
    return f"""# Weights `{name}`

- Network: `{config.model.backbone.name}` backbone, fields in `config.json`; stored as float16, used as float32.
- Data: {data.name}, {seen}. Open hand and head; no photograph of a person.
- Training: {training} on {trained_on}.
- License: Apache-2.0. Backbone initialized from EfficientNet-Lite0 (ImageNet).

## Measured

{evaluation["about"]}.

{tables.mesh_table(rows)}
{tables.contact_table(rows)}
{tables.parts_table(rows)}
{tables.detail_table(rows)}
The test split comes from the generator of the training data, with other people in it. It says nothing of photographs.

## Known failures

{failures.strip()}
"""


if __name__ == "__main__":
    # Only here: these names are flags of other modules, too.
    flags.DEFINE_string(
        "workdir", None, "Run to export; its newest checkpoint is taken.", required=True
    )
    flags.DEFINE_string(
        "evaluation", None, "Folder that dice_jax.evaluate wrote for this run.", required=True
    )
    flags.DEFINE_string(
        "trained_on", None, "The machine, as the card shall name it.", required=True
    )
    flags.DEFINE_string(
        "failures", None, "File with a Markdown list of known failures.", required=True
    )
    flags.DEFINE_string(
        "out", None, "Folder to write; its name is that of the weights.", required=True
    )
    errors.run(main)
