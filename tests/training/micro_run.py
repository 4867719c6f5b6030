"""A run as small as it gets: random pictures, a thin network, the losses that compile fast.

As a script it trains: python tests/training/micro_run.py WORKDIR STEPS [SLEEP], the last to be slow enough to be killed.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from ml_collections import ConfigDict

from configs import default
from dice_jax import datasets
from dice_jax.data import schema
from dice_jax.models import presets

NAME = "random_samples"
SIZES = {"train": 12, "validation": 3}
COSTLY = ("reprojection", "vertices", "keypoints", "touch", "collision", "depth")


def sample(seed: int) -> dict:
  """An encoded sample with every label, all of them random."""
  rng = np.random.default_rng(seed)
  normal = lambda *shape: (0.1 * rng.normal(size=shape)).astype(np.float32)
  keypoints = lambda count: np.column_stack([rng.uniform(40, 180, (count, 2)), np.ones(count)])
  moved = rng.random(schema.NUM_HEAD_VERTICES) < 0.03
  coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
  return schema.encode(dict(
    image=np.kron(coarse, np.ones((32, 32, 1), np.uint8)),
    hand_keypoints_2d=keypoints(21), head_keypoints_2d=keypoints(68),
    hand_keypoints_depth=1 + rng.random(21), head_keypoints_depth=1 + rng.random(68),
    hand_betas=normal(10), hand_global_orient=normal(3) + [-1.2, -1.2, 1.2], hand_pose=normal(45),
    hand_transl=normal(3) + [0, 0, 0.5], head_betas=normal(100), head_expression=normal(50),
    head_global_orient=normal(3) + [np.pi, 0, 0], head_neck_pose=normal(3), head_jaw_pose=normal(3),
    head_transl=normal(3) + [0, 0, 0.6], deformations=0.05 * normal(schema.NUM_HEAD_VERTICES, 3) * moved[:, None],
    hand_contact=rng.random(schema.NUM_HAND_VERTICES) < 0.1, head_contact=moved, subject=seed, scene=seed,
    gesture="none", skin_tone=0.5))  # fmt: skip


def config(**changes) -> ConfigDict:
  """The configuration of the run, with `changes` at its top level."""
  made = default.get_config()
  made.total_steps = 12
  made.batch_size = 8
  made.log_every = 2
  made.checkpoint_every = 4
  made.validate_every = 1000
  made.burn_in_steps = 0
  made.data.name = NAME
  made.data.sizes.update(SIZES)
  made.model = presets.tiny()
  made.losses.update({name: 0.0 for name in COSTLY})
  made.optimizer.learning_rate = 1e-3
  made.optimizer.warmup_steps = 0
  made.update(changes)
  return made


def install() -> None:
  """Makes the random samples known as a data set."""
  datasets.DATASETS[NAME] = lambda folder, split, size: [sample(i + 100 * len(split)) for i in range(size)]


if __name__ == "__main__":
  from dice_jax import train, xla_flags

  xla_flags.set_cpu_preset()
  install()
  pause = float(os.environ.get("MICRO_RUN_PAUSE", "0"))
  read = datasets.schema_decode if False else None
  train.train(config(total_steps=int(sys.argv[2])), sys.argv[1])
