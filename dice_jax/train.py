"""Trains the network.

  python -m dice_jax.train --config=configs/small.py --workdir=runs/small --config.batch_size=8

Any field of the configuration can be set as above. The same command goes on where it was
interrupted. The workdir gets config.json, metrics.jsonl, validation.jsonl, tensorboard/, sheets/
and checkpoints/; `dice_jax.load` and evaluation take it as it is. Several processes train together
with --distributed, or with --coordinator_address, --num_processes and --process_id.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from dice_jax import configs, errors, xla_flags
from dice_jax.checkpoints import config_file, npz_weights, orbax_checkpoints, provenance, shipped
from dice_jax.datasets import registry
from dice_jax.datasets.augmentation import augmentation
from dice_jax.evaluation import validation as watch
from dice_jax.input_pipeline import loader, pose_priors, schema
from dice_jax.io import atomic
from dice_jax.training import data_parallel, distributed
from dice_jax.training import progress as logging
from dice_jax.training import setup as train_setup
from dice_jax.training.run_log import RunLog
from dice_jax.training.state import TrainState
from dice_jax.training.step import train_step

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration, such as configs/small.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; one that holds a run goes on with it."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes that the cluster has started."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0, where no cluster tells it."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes train together.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)


def main(argv: Sequence[str]) -> None:
    del argv
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    distributed.join(
        _DISTRIBUTED.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    )
    train(_CONFIG.value, _WORKDIR.value)


def train(config: ConfigDict, workdir: str | Path) -> TrainState:
    """Runs `config` to its end, or to a SIGTERM, and returns the last state."""
    ################ Setup ################
    workdir = atomic.writable_folder(workdir)
    data_parallel.check_batch_size(config.batch_size, config.accumulate_steps)
    registry.require(config.data, config.body_models)
    writes = distributed.is_writer()

    ################ Data ################
    setup, bodies = train_setup.build_setup(config)
    with distributed.writer_first(workdir / ".data_is_there"):
        train_split, validation_split = (
            registry.open_split(config.data.name, split, config.data.dir, config.data.sizes[split])
            for split in ("train", "validation")
        )
    train_loader = loader.Loader(
        train_split,
        config.batch_size,
        seed=config.seed,
        transform=augmentation(config.data.augmentation, bodies.hand, bodies.head),
        num_threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    draw_real = real_samples(config)
    require_depth(config, train_split)

    ################ State ################
    state = train_setup.init_state(setup, bodies, config.seed)
    about = provenance.about(config, len(train_split))
    checkpointer = orbax_checkpoints.Checkpointer(
        workdir, keep=config.keep_checkpoints, best_metric="pve_mm", about=about
    )
    if checkpointer.has_any():
        config_file.check_same_network(workdir, config)
    restored = checkpointer.restore(state)
    changes = provenance.changes(checkpointer.about(), about)
    if writes:
        config_file.save_config(workdir, config)
    state = restored or start(state, config.init_from)
    first, last = int(state.step), config.total_steps
    run_log = RunLog(workdir, first, writes=writes)
    if writes:
        print(logging.summary(config, state.generator.params, first, len(train_split)))
        if changes:
            print(
                f"changed since the checkpoint, so not the unbroken run from here on: {', '.join(changes)}"
            )

    ################ Loop ################
    update = data_parallel.parallelize(functools.partial(train_step, setup), donate_state=True)
    state, on_devices = data_parallel.replicate(state), data_parallel.replicate(bodies)
    in_flight, stop_signal = collections.deque(), distributed.StopSignal()
    with (
        logging.Progress(first, last, config.batch_size, shown=writes) as progress,
        jax.transfer_guard("disallow"),
    ):
        for step, batch in enumerate(train_loader.batches(first, last), start=first + 1):
            state, metrics = update(
                state,
                data_parallel.shard(batch),
                on_devices,
                data_parallel.shard(draw_real(step - 1)),
            )
            # Two updates at a time: the device never waits, and the live line tells the truth.
            in_flight.append(metrics["loss"])
            if len(in_flight) > 2:
                in_flight.popleft().block_until_ready()
            progress.advance()

            due = lambda every, step=step: every > 0 and (step % every == 0 or step == last)
            reporting, validating, drawing = (
                due(config.log_every),
                due(config.validate_every),
                due(config.sheet_every),
            )
            interrupted = stop_signal.after(step)
            saving = due(config.checkpoint_every) or validating or interrupted or step == last
            if (reporting or saving) and data_parallel.unreplicate(state.failed_step) >= 0:
                break
            if reporting:
                values = data_parallel.unreplicate(metrics) | {
                    "images_per_second": progress.images_per_second(step)
                }
                run_log.log_training(step, values)
                progress.show(values)
                checkpointer.check()
            validation = None
            if validating:  # by every process, so that all agree on the best checkpoint
                validation = watch.validate(
                    setup, bodies, data_parallel.unreplicate(state), validation_split, config
                )
                run_log.log_validation(step, validation)
                progress.say(f"step {step}: validation PVE* {validation['pve_mm']:.1f} mm")
            if drawing and writes:
                run_log.save_sheet(
                    step,
                    watch.draw_sheet(
                        setup, bodies, data_parallel.unreplicate(state), validation_split, config
                    ),
                )
            if saving:
                checkpointer.save(data_parallel.unreplicate(state), validation)
            if interrupted:
                break

    ################ End ################
    run_log.close()
    state = data_parallel.unreplicate(state)
    if state.failed_step >= 0:
        replay = lambda state, batch, step: update(
            data_parallel.replicate(state),
            data_parallel.shard(batch),
            on_devices,
            data_parallel.shard(draw_real(step)),
        )
        raise errors.UserError(replay_failure(state, train_loader, replay, checkpointer, workdir))
    checkpointer.close()
    if state.step < last and writes:
        print(
            f"stopped by a signal and saved at step {state.step} of {last}: the same command goes on from there"
        )
    return state


def require_depth(config: ConfigDict, split: loader.Source) -> None:
    """Raises a UserError where the depth loss is on and no sample, out of 32 spread over the split,
    has depth.
    """
    if not config.losses.depth:
        return
    places = np.unique(np.linspace(0, len(split) - 1, 32).astype(int))
    if not any("hand_keypoints_depth" in schema.decode(split[int(place)]) for place in places):
        raise errors.UserError(
            f"losses.depth is {config.losses.depth:g} but the samples of {config.data.name} have no depth: prepare them with "
            "depth, or give --config.losses.depth=0"
        )


def real_samples(config: ConfigDict) -> Callable[[int], Any]:
    """From an update, counted from 0, to this process's share of what its discriminators call real;
    None: the labels.
    """
    if not config.data.priors:
        return lambda step: None
    known = pose_priors.load(registry.data_folder(config.data.dir) / config.data.priors)
    shares = pose_priors.parse_shares(config.data.prior_shares)
    size = config.batch_size // jax.process_count()
    mine = slice(jax.process_index() * size, (jax.process_index() + 1) * size)

    def draw(step: int):
        return jax.tree.map(
            lambda x: x[mine], known.draw(config.seed, step, config.batch_size, shares)
        )

    draw(0)  # what is wrong with the shares should show now
    return draw


def start(state: TrainState, weights: str) -> TrainState:
    """The state of a fresh run: `state` itself, or with the trained `weights` (see
    configs/default.py) in it.
    """
    if not weights:
        return state
    variables, _ = npz_weights.load_weights(shipped.weights_folder(weights))
    state, new = train_setup.start_from(state, variables)
    print(
        f"starts from {weights}; {f'random: {len(new)} weights, first {new[0]}' if new else 'every weight of it'}"
    )
    return state


def replay_failure(
    state: TrainState,
    train_loader: loader.Loader,
    replay: Callable[..., Any],
    checkpointer: orbax_checkpoints.Checkpointer,
    workdir: Path,
) -> str:
    """Saves what a failed update needs to be run again, runs it again, and says in one line what
    was not finite.
    """
    step = int(state.failed_step)
    state = state.replace(failed_step=np.int32(-1))
    checkpointer.save(state)
    checkpointer.close()
    batch = train_loader.batch(step)
    share = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / f"failed_batch_{step}{share}.npz"
    names = [
        jax.tree_util.keystr(key, simple=True, separator=".")
        for key, _ in jax.tree.leaves_with_path(batch)
    ]
    np.savez_compressed(path, **dict(zip(names, jax.tree.leaves(batch))))
    _, metrics = replay(state, batch, step)
    culprits = [
        name for name, value in data_parallel.unreplicate(metrics).items() if not np.isfinite(value)
    ]
    return (
        f"not finite in update {step + 1}: {', '.join(culprits)}; the state before it is saved as checkpoint {step}, its "
        f"batch as {path}; try a lower optimizer.learning_rate or another seed"
    )


def cli() -> None:
    """The console script `dice-train`."""
    # Not at import time: other programs import this module without giving these flags.
    flags.mark_flags_as_required(["config", "workdir"])
    errors.run(main, absl_flags=True, rewrite=configs.resolve_names)


if __name__ == "__main__":
    cli()
