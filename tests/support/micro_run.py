"""A run as small as it gets: random pictures, a network of two layers, the losses that compile
fast.

As a script it is `dice_jax.train` on them, and its own configuration:

  MICRO_RUN_PAUSE=0.01 python tests/support/micro_run.py --config=tests/support/micro_run.py
  --workdir=DIR --config.total_steps=6

The pause, seconds a sample, makes it slow enough to be killed half-way.
"""

import functools
import os
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.configs import default
from dice_jax.datasets import registry
from dice_jax.input_pipeline import schema
from dice_jax.models.layers.dropout import Dropout
from dice_jax.structs import (
    Camera,
    ContactLogits,
    HandParams,
    HeadParams,
    NetworkOutput,
    RoughMeshes,
)

NAME = "random_samples"
FAST_COMPILE = {"xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE"}  # compiler options
COSTLY = ("reprojection", "vertices", "keypoints", "touch", "collision", "depth")
SHAPES = {
    "hand": (10, 3, 45, 3),
    "head": (100, 50, 3, 3, 3, 3),
    "camera": (1, 2),
    "contact": (195, 778, 559, 1675, 5023),
}


class MicroNetwork(nn.Module):
    """Looks at the mean of each of 7 x 7 cells; has batch norm, dropout and every output of the
    real network.
    """

    config: models.ModelConfig
    axis_name: str | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, queries, *, train):
        del queries
        size = len(images)
        x = images.reshape(size, 7, 32, 7, 32, 3).mean((2, 4)).reshape(size, -1)
        x = nn.Dense(32, name="backbone")(x)
        live = train and not self.config.backbone.frozen_batch_norm
        x = nn.BatchNorm(use_running_average=not live, axis_name=self.axis_name if live else None)(
            x
        )
        x = Dropout(self.dropout, self.axis_name)(nn.relu(x), train=train)
        outputs = {name: self._outputs(name, x, sizes) for name, sizes in SHAPES.items()}
        mesh = lambda count: jnp.zeros((size, count, 3))
        return NetworkOutput(
            rough=RoughMeshes(*(mesh(count) for count in (21, 68, 195, 778, 559, 1675, 5023))),
            hand_params=HandParams(*outputs["hand"]),
            head_params=HeadParams(*outputs["head"]),
            camera=Camera(500.0 + outputs["camera"][0][:, 0], 112.0 + outputs["camera"][1]),
            deformations=0.01 * nn.Dense(5023 * 3, name="deformations")(x).reshape(size, 5023, 3),
            contact_logits=ContactLogits(*outputs["contact"]),
            presence_logit=nn.Dense(1, name="presence")(x)[:, 0],
        )

    def _outputs(self, name, x, sizes):
        values = nn.Dense(sum(sizes), name=name)(x)
        return jnp.split(values, np.cumsum(sizes)[:-1], axis=-1)


def make_network(config, hand_model, head_model, *, axis_name=None):
    """In place of `models.create_model`."""
    del hand_model, head_model
    config = models.ModelConfig.from_dict(config)
    return MicroNetwork(config, axis_name, config.mesh_net.encoders.dropout), jnp.zeros((843, 3))


def sample(seed: int) -> dict:
    """An encoded sample with every label, all of them random."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: 0.1 * rng.normal(size=shape)
    keypoints = lambda count: np.column_stack([rng.uniform(40, 180, (count, 2)), np.ones(count)])
    moved = rng.random(schema.NUM_HEAD_VERTICES) < 0.03
    return schema.encode(
        dict(
            image=np.kron(
                rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), np.ones((32, 32, 1), np.uint8)
            ),
            hand_keypoints_2d=keypoints(21),
            head_keypoints_2d=keypoints(68),
            hand_keypoints_depth=1 + rng.random(21),
            head_keypoints_depth=1 + rng.random(68),
            hand_betas=normal(10),
            hand_global_orient=normal(3) + [-1.2, -1.2, 1.2],
            hand_pose=normal(45),
            hand_transl=normal(3) + [0, 0, 0.5],
            head_betas=normal(100),
            head_expression=normal(50),
            head_global_orient=normal(3) + [np.pi, 0, 0],
            head_neck_pose=normal(3),
            head_jaw_pose=normal(3),
            head_transl=normal(3) + [0, 0, 0.6],
            deformations=0.05 * normal(schema.NUM_HEAD_VERTICES, 3) * moved[:, None],
            hand_contact=rng.random(schema.NUM_HAND_VERTICES) < 0.1,
            head_contact=moved,
            subject=seed,
            scene=seed,
            gesture="none",
            skin_tone=0.5,
        )
    )


class RandomSource:
    """So many random samples, each after a pause."""

    def __init__(self, size: int, first_seed: int = 0, pause: float = 0.0):
        self._samples, self._pause = [sample(first_seed + i) for i in range(size)], pause

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        time.sleep(self._pause)
        return self._samples[index]


def get_config(**changes) -> ConfigDict:
    """The configuration of the run; `changes` are fields of its top level."""
    made = default.get_config()
    made.update(
        total_steps=24,
        batch_size=8,
        log_every=2,
        checkpoint_every=4,
        validate_every=1000,
        sheet_every=0,
        burn_in_steps=0,
        keep_checkpoints=1,
    )
    made.data.name = NAME
    made.data.sizes.update(train=12, validation=3)
    made.data.threads = 1
    made.model.mesh_net.encoders.dropout = 0.1
    made.model.backbone.update(pretrained="", frozen_batch_norm=False)
    made.losses.update({name: 0.0 for name in COSTLY})
    made.optimizer.update(learning_rate=1e-3, warmup_steps=0)
    made.update(changes)
    return made


def two_steps(setup, bodies, batch):
    """The state after two steps of `recipe` on one device from random weights, and the losses of
    both.

    Quicker than a training: neither the initialization nor the fastest code is compiled.
    """
    from dice_jax.training import data_parallel, step
    from dice_jax.training import setup as train_setup

    shapes = jax.eval_shape(lambda: train_setup.init_state(setup, bodies, 0))
    alone = lambda tree: jax.tree.map(lambda x: np.asarray(x)[None], tree)
    state, batch, bodies = (
        alone(jax.tree.map_with_path(_random_leaf, shapes)),
        alone(batch),
        alone(bodies),
    )
    update = jax.jit(
        jax.vmap(functools.partial(step.train_step, setup), axis_name=data_parallel.AXIS)
    )
    update = update.lower(state, batch, bodies).compile(compiler_options=FAST_COMPILE)
    losses = []
    for _ in range(2):
        state, metrics = update(state, batch, bodies)
        losses.append({name: float(value[0]) for name, value in metrics.items()})
    return jax.tree.map(lambda x: np.asarray(x[0]), state), losses


def _random_leaf(path, leaf):
    """A value for one array of a first state, as its name wants it."""
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    if name == "failed_step":
        return np.full(leaf.shape, -1, leaf.dtype)
    if name.endswith((".scale", ".var")) and "opt_state" not in name:
        return np.ones(leaf.shape, leaf.dtype)
    if leaf.ndim < 2 or "opt_state" in name:
        return np.zeros(leaf.shape, leaf.dtype)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.normal(scale=0.05, size=leaf.shape).astype(leaf.dtype)


def install(setattr=setattr, pause: float = 0.0) -> None:
    """Puts the random samples and the micro network in place of the real ones; validation and
    sheets are skipped.

    Args:
        setattr: how; a monkeypatch's to undo it later.
        pause: seconds that reading a sample takes.
    """
    from dice_jax.evaluation import validation
    from dice_jax.training import setup

    split = lambda folder, name, size: RandomSource(size, 1000 * len(name), pause)
    setattr(registry, "DATASETS", {**registry.DATASETS, NAME: split})
    setattr(setup.models, "create_model", make_network)
    setattr(
        validation,
        "draw_sheet",
        lambda setup, bodies, state, split, config: np.full((8, 8, 3), 200, np.uint8),
    )
    setattr(
        validation,
        "validate",
        lambda setup, bodies, state, split, config: {"pve_mm": 100.0 - float(state.step)},
    )


if __name__ == "__main__":
    from dice_jax import train

    install(pause=float(os.environ.get("MICRO_RUN_PAUSE", "0")))
    train.cli()
