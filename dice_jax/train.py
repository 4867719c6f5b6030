"""Trains the network.

  python -m dice_jax.train --config=configs/small.py --workdir=runs/small --config.batch_size=8

Any field of the configuration can be set as above. The same command goes on where it was interrupted. The workdir gets
config.json, metrics.jsonl, validation.jsonl and checkpoints/; `dice_jax.load` and evaluation take it as it is.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from flax import traverse_util
from ml_collections import ConfigDict, config_flags

from dice_jax import datasets, errors, evaluation, inference, xla_flags
from dice_jax.data import loader
from dice_jax.io import atomic
from dice_jax.training import checkpoint, config_file, export, logging, parallel
from dice_jax.training import recipe as recipes
from dice_jax.training.state import TrainState
from dice_jax.training.step import train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration, such as configs/small.py.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; one that holds a run goes on with it.")


def main(argv: Sequence[str]) -> None:
  del argv
  xla_flags.set_cpu_preset()
  xla_flags.keep_compiled()
  train(_CONFIG.value, _WORKDIR.value)


def train(config: ConfigDict, workdir: str | Path) -> TrainState:
  """Runs `config` to its end, or to a SIGTERM, and returns the last state."""
  ################ Setup ################
  workdir = atomic.writable_folder(workdir)
  parallel.check_batch_size(config.batch_size)
  datasets.require(config)
  interrupted = _listen_for_sigterm()

  ################ Data ################
  recipe, bodies = recipes.make_recipe(config)
  train_split, validation_split = (
    datasets.open_split(config.data.name, split, config.data.dir, config.data.sizes[split])
    for split in ("train", "validation")
  )
  train_loader = loader.Loader(
    train_split,
    config.batch_size,
    seed=config.seed,
    transform=datasets.augmentation(config.data.augmentation, bodies.hand, bodies.head),
    num_threads=config.data.threads,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )

  ################ State ################
  state = recipes.init_state(recipe, bodies, config.seed)
  checkpointer = checkpoint.Checkpointer(workdir, keep=config.keep_checkpoints, best_metric="pve_mm")
  if checkpointer.has_any():
    config_file.check_same_network(workdir, config)
  config_file.save_config(workdir, config)
  restored = checkpointer.restore(state)
  state = restored or start(state, config.init_from)
  first, last = int(state.step), config.total_steps
  metrics_file = logging.MetricsFile(workdir / "metrics.jsonl", first)
  validation_file = logging.MetricsFile(workdir / "validation.jsonl", first)
  print(logging.summary(config, state.generator.params, first, len(train_split)))

  ################ Loop ################
  update = parallel.parallelize(functools.partial(train_step, recipe), donate_state=True)
  state, on_devices = parallel.replicate(state), parallel.replicate(bodies)
  in_flight = collections.deque()
  with logging.Progress(first, last, config.batch_size) as progress, jax.transfer_guard("disallow"):
    for step, batch in enumerate(train_loader.batches(first, last), start=first + 1):
      state, metrics = update(state, parallel.shard(batch), on_devices)
      # Two updates at a time: the device never waits, and the live line tells the truth.
      in_flight.append(metrics["loss"])
      if len(in_flight) > 2:
        in_flight.popleft().block_until_ready()
      progress.advance()

      due = lambda every, step=step: step % every == 0 or step == last
      reporting, validating = due(config.log_every), due(config.validate_every)
      saving = due(config.checkpoint_every) or validating or bool(interrupted)
      if (reporting or saving) and parallel.unreplicate(state.failed_step) >= 0:
        break
      if reporting:
        values = parallel.unreplicate(metrics)
        metrics_file.write(step, {**values, "images_per_second": progress.images_per_second(step)})
        progress.show(loss=values["loss"])
      validation = None
      if validating:
        validation = validate(recipe, bodies, parallel.unreplicate(state), validation_split, config)
        validation_file.write(step, validation)
        progress.say(f"step {step}: validation PVE* {validation['pve_mm']:.1f} mm")
      if saving:
        checkpointer.save(parallel.unreplicate(state), validation)
      if interrupted:
        break

  ################ End ################
  state = parallel.unreplicate(state)
  if state.failed_step >= 0:
    report = replay_failure(state, train_loader, update, on_devices, checkpointer, workdir)
    raise errors.UserError(report)
  checkpointer.close()
  if state.step < last:
    print(f"stopped by a signal and saved at step {state.step} of {last}: the same command goes on from there")
  return state


def start(state: TrainState, weights: str) -> TrainState:
  """The state of a fresh run: `state` itself, or with the trained `weights` (see configs/default.py) in it."""
  if not weights:
    return state
  variables, _ = export.load_weights(inference.weights_folder(weights))
  state, new = recipes.start_from(state, variables)
  print(f"starts from {weights}; {f'random: {len(new)} weights, first {new[0]}' if new else 'every weight of it'}")
  return state


def validate(
  recipe: recipes.Recipe, bodies: recipes.Bodies, state: TrainState, split: loader.Source, config: ConfigDict
) -> dict[str, float]:
  """The flat figures of `metrics.accumulate.summarise` on `split`, as `infer` sees them."""
  model = inference.Model(state.weights(), bodies.hand, bodies.head, bodies.queries, recipe.network)
  batches = loader.sequential_batches(split, config.batch_size, num_threads=config.data.threads)
  with jax.transfer_guard("allow"):
    summary = evaluation.evaluate(lambda batch: inference.infer(model, batch.images), batches, bodies.hand, bodies.head)
  figures = traverse_util.flatten_dict(summary, sep="/")
  return {name: value for name, value in figures.items() if value is not None}


def replay_failure(
  state: TrainState,
  train_loader: loader.Loader,
  update: Callable[..., Any],
  on_devices: recipes.Bodies,
  checkpointer: checkpoint.Checkpointer,
  workdir: Path,
) -> str:
  """Saves what a failed update needs to be run again, runs it again, and says in one line what was not finite."""
  step = int(state.failed_step)
  state = state.replace(failed_step=np.int32(-1))
  checkpointer.save(state)
  checkpointer.close()
  batch = train_loader.batch(step)
  path = workdir / f"failed_batch_{step}.npz"
  names = [jax.tree_util.keystr(key, simple=True, separator=".") for key, _ in jax.tree.leaves_with_path(batch)]
  np.savez_compressed(path, **dict(zip(names, jax.tree.leaves(batch))))
  _, metrics = update(parallel.replicate(state), parallel.shard(batch), on_devices)
  culprits = [name for name, value in parallel.unreplicate(metrics).items() if not np.isfinite(value)]
  return (
    f"not finite in update {step + 1}: {', '.join(culprits)}; the state before it is saved as checkpoint {step}, its "
    f"batch as {path}; try a lower optimizer.learning_rate or another seed"
  )


def _listen_for_sigterm() -> list[int]:
  """A list that stays empty until the process is asked to end."""
  received = []
  with contextlib.suppress(ValueError):  # only the main thread may listen
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
  return received


if __name__ == "__main__":
  # Only here: another command line may import this module.
  flags.mark_flags_as_required(["config", "workdir"])
  errors.run(main)
