"""Trains the network.

  python -m dice_jax.train --config=configs/small.py
  python -m dice_jax.train --config=configs/small.py --workdir=runs/half --config.batch_size=8

Any field of the configuration can be overridden as above. The same command resumes an interrupted
run. The workdir receives config.json, metrics.jsonl, validation.jsonl, tensorboard/, sheets/ and
checkpoints/; `dice_jax.load` and `dice_jax.evaluate` accept it as weights. To train with several
processes, start each with --distributed, or with --coordinator_address, --num_processes and
--process_id.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chex
import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from dice_jax import configs, errors, models, xla_flags
from dice_jax.checkpoints import config_file, pretrained_backbones, provenance
from dice_jax.checkpoints.orbax_checkpoints import BEST_METRIC, Checkpointer
from dice_jax.datasets import registry
from dice_jax.datasets.augmentation import augmentation
from dice_jax.evaluation import validation
from dice_jax.input_pipeline.loader import Loader
from dice_jax.io import atomic
from dice_jax.training import config_check, data_parallel, distributed, progress, run_length
from dice_jax.training.initial_state import init_state, start
from dice_jax.training.real_samples import real_samples
from dice_jax.training.replay import replay_failure
from dice_jax.training.run_log import RunLog
from dice_jax.training.setup import NetworkFactory, build_setup
from dice_jax.training.state import TrainState
from dice_jax.training.step import train_step
from dice_jax.training.workdir_lock import workdir_lock

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration, such as configs/small.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run; default: runs/NAME. If it already holds a run, that run is resumed.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Train with the other processes that the cluster has started."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0, if the cluster does not provide it."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "Number of processes that train together.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Number of this process, counted from 0.", lower_bound=0
)


def main(argv: Sequence[str], **inputs: Any) -> None:
    """Trains as the flags say; `inputs` are keyword arguments of `train`."""
    if argv[1:]:
        raise errors.UserError(f"unknown argument {argv[1]!r}: flags begin with --, see --help")
    if _WORKDIR.value is not None and not _WORKDIR.value.strip():
        raise errors.UserError("--workdir is empty: give the folder of the run")
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    distributed.join(
        _DISTRIBUTED.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    )
    name = configs.run_name(config_flags.get_config_filename(flags.FLAGS["config"]))
    train(_CONFIG.value, _WORKDIR.value or Path("runs") / name, **inputs)


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    create_network: NetworkFactory = models.create_model,
    datasets: registry.Datasets = registry.DATASETS,
) -> TrainState:
    """Trains until `config.total_steps` or `config.epochs`, or until a SIGTERM.

    Args:
        config: see configs/default.py.
        workdir: folder of the run, created when absent.
        create_network: builds the generator.
        datasets: the data sets that `config.data.name` may use.

    Returns:
        The last state, one copy, as NumPy arrays.

    Raises:
        UserError: a mistake in the configuration, missing data, a full disk, or a loss that is not
            finite.
    """
    ################ Setup ################
    config_check.check(config)
    workdir = atomic.writable_folder(workdir)
    if distributed.is_writer():
        with workdir_lock(workdir):
            return _train(config, workdir, create_network, datasets)
    return _train(config, workdir, create_network, datasets)


def _train(
    config: ConfigDict,
    workdir: Path,
    create_network: NetworkFactory,
    datasets: registry.Datasets,
) -> TrainState:
    """Trains in a workdir that no other run uses."""
    registry.require(
        config.data,
        config.get("body_models"),
        datasets,
        further=[pretrained_backbones.missing(config.model)],
    )
    writes = distributed.is_writer()
    # Finds mistakes before data is built. The real length is known with the data.
    checked = run_length.resolve(config, samples=1)
    data_parallel.check_batch_size(checked.batch_size, config.accumulate_steps)
    build_setup(checked, create_network)

    ################ Data ################
    with distributed.writer_first(workdir / ".data_is_there"):
        train_split, validation_split = (
            registry.open_split(
                config.data.name,
                split,
                config.data.dir,
                config.data.sizes[split],
                datasets=datasets,
            )
            for split in ("train", "validation")
        )
    if config.losses.depth:
        registry.require_depth(train_split, config.data.name)
    config = run_length.resolve(config, len(train_split))
    setup, bodies = build_setup(config, create_network)
    train_loader = Loader(
        train_split,
        config.batch_size,
        seed=config.seed,
        transform=augmentation(config.data.augmentation, bodies.hand, bodies.head),
        num_threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    folder, priors = registry.data_folder(config.data.dir), config.data.priors
    draw_real = real_samples(
        folder / priors if priors else None,
        config.data.prior_shares,
        seed=config.seed,
        batch_size=config.batch_size,
    )

    ################ State ################
    state = init_state(setup, bodies, config.seed)
    about = provenance.about(config, len(train_split))
    checkpointer = Checkpointer(
        workdir, keep=config.keep_checkpoints, best_metric=BEST_METRIC, about=about
    )
    if checkpointer.has_any():
        config_file.check_same_network(workdir, config.model)
    restored = checkpointer.restore(state)
    changes = provenance.changes(checkpointer.about(), about)
    state = restored or start(state, config.init_from)
    chex.assert_tree_all_finite(state.weights())
    first, last = int(state.step), config.total_steps
    if writes:
        config_file.save_config(workdir, config)
        print(
            progress.summary(
                state.generator.params,
                first=first,
                last=last,
                batch_size=config.batch_size,
                samples=len(train_split),
                seed=config.seed,
            )
        )
        if first == 0 and not config.init_from and config.model.backbone.pretrained == "none":
            print("the backbone starts from random weights: model.backbone.pretrained is none")
        if changes:
            print(
                "changed since the checkpoint, so later steps differ from those of an "
                f"uninterrupted run: {', '.join(changes)}"
            )

    ################ Loop ################
    update = data_parallel.parallelize(functools.partial(train_step, setup), donate_state=True)
    state, bodies_on_devices = data_parallel.replicate(state), data_parallel.replicate(bodies)
    in_flight, stop_signal = collections.deque(), distributed.StopSignal()
    with (
        RunLog(workdir, first, writes=writes) as run_log,
        progress.Progress(first, last, config.batch_size, shown=writes) as progress_bar,
        jax.transfer_guard("disallow"),
    ):
        for step, batch in enumerate(train_loader.batches(first, last), start=first + 1):
            state, metrics = update(
                state,
                data_parallel.shard(batch),
                bodies_on_devices,
                data_parallel.shard(draw_real(step - 1)),
            )
            # Two updates in flight: the device never waits for the host, and the progress bar is
            # at most two updates ahead of it.
            in_flight.append(metrics["loss"])
            if len(in_flight) > 2:
                in_flight.popleft().block_until_ready()
            progress_bar.advance()

            due = lambda every, step=step: every > 0 and (step % every == 0 or step == last)
            interrupted, validating = stop_signal.after(step), due(config.validate_every)
            saving = due(config.checkpoint_every) or validating or interrupted or step == last
            looking = saving or due(config.log_every)
            if looking and data_parallel.unreplicate(state.failed_step) >= 0:
                break
            if due(config.log_every):
                values = {k: float(v) for k, v in data_parallel.unreplicate(metrics).items()}
                values["images_per_second"] = progress_bar.images_per_second(step)
                run_log.log_training(step, values)
                progress_bar.show(values)
                checkpointer.raise_if_failed()
            figures = None
            if validating:  # in every process, so that all of them agree on the best checkpoint
                figures = validation.validate(
                    setup,
                    bodies,
                    data_parallel.unreplicate(state),
                    validation_split,
                    batch_size=config.batch_size,
                    num_threads=config.data.threads,
                )
                run_log.log_validation(step, figures)
                if BEST_METRIC in figures:
                    pve = figures[BEST_METRIC]
                    progress_bar.print_above(f"step {step}: validation PVE* {pve:.1f} mm")
                else:  # a split without 3D labels says nothing of the best checkpoint
                    figures = None
            if due(config.sheet_every) and writes:
                sheet = validation.draw_sheet(
                    setup,
                    bodies,
                    data_parallel.unreplicate(state),
                    validation_split,
                    count=config.sheet_samples,
                    num_threads=config.data.threads,
                )
                run_log.save_sheet(step, sheet)
            if saving:
                checkpointer.save(data_parallel.unreplicate(state), figures)
            if interrupted:
                break

    ################ End ################
    state = data_parallel.unreplicate(state)
    if state.failed_step >= 0:

        def replay(state, batch, step):
            state, batch, real = (
                data_parallel.replicate(state),
                data_parallel.shard(batch),
                data_parallel.shard(draw_real(step)),
            )
            return data_parallel.unreplicate(update(state, batch, bodies_on_devices, real)[1])

        batch = train_loader.batch(int(state.failed_step))
        raise errors.UserError(replay_failure(state, batch, replay, checkpointer, workdir))
    checkpointer.close()
    if state.step < last and writes:
        print(
            f"stopped by a signal and saved at step {state.step} of {last}: "
            "the same command resumes from there"
        )
    return state


def cli() -> None:
    """The console script `dice-train`."""
    # Not at import time: other programs import this module without giving these flags.
    flags.mark_flags_as_required(["config"])
    with errors.exit_at_once():
        errors.run(main, absl_flags=True, rewrite=configs.resolve_names)


if __name__ == "__main__":
    cli()
