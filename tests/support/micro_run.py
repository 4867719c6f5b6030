"""A training as small as possible: random images, two layers, losses that compile fast.

As a script it is `dice_jax.train` with these inputs, and at the same time the configuration:

  MICRO_RUN_PAUSE=0.01 python tests/support/micro_run.py --config=tests/support/micro_run.py
  --workdir=DIR --config.total_steps=6

The pause (seconds per sample) makes it slow enough to be killed half-way.
"""

import functools
import os
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from dice_jax import errors, models, train
from dice_jax.configs import default
from dice_jax.constants import (
    CROP_SIZE,
    HAND_LEVELS,
    HEAD_LEVELS,
    NUM_HAND_KEYPOINTS,
    NUM_HAND_VERTICES,
    NUM_HEAD_KEYPOINTS,
    NUM_HEAD_VERTICES,
)
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
from dice_jax.training.data_parallel import parallelize
from dice_jax.training.initial_state import init_state
from dice_jax.training.step import train_step
from support.fast_compile import LITTLE_OPTIMIZATION

NAME = "random_samples"
SLOW_LOSSES = ("reprojection", "vertices", "keypoints", "touch", "collision", "depth")
_COARSE_TO_FINE = (*reversed(HAND_LEVELS), *reversed(HEAD_LEVELS))
_SIZES = {
    "hand": (10, 3, 45, 3),
    "head": (100, 50, 3, 3, 3, 3),
    "camera": (1, 2),
    "contact": _COARSE_TO_FINE,
}


class MicroNetwork(nn.Module):
    """Two layers on the mean colors of 7 x 7 cells.

    Has batch norm, dropout and every output of the real network.
    """

    config: models.ModelConfig
    axis_name: str | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, queries, detections=None, intrinsics=None, *, train):
        del queries
        size = len(images)
        x = images.reshape(size, 7, CROP_SIZE // 7, 7, CROP_SIZE // 7, 3)
        x = nn.Dense(32, name="backbone")(x.mean((2, 4)).reshape(size, -1))
        live = train and not self.config.backbone.frozen_batch_norm
        norm = nn.BatchNorm(
            use_running_average=not live, axis_name=self.axis_name if live else None
        )
        x = Dropout(self.dropout, self.axis_name)(nn.relu(norm(x)), train=train)
        outputs = {name: self._outputs(name, x, sizes) for name, sizes in _SIZES.items()}
        deformations = nn.Dense(NUM_HEAD_VERTICES * 3, name="deformations")(x)
        rough = (NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS, *_COARSE_TO_FINE)
        return NetworkOutput(
            rough=RoughMeshes(*(jnp.zeros((size, count, 3)) for count in rough)),
            hand_params=HandParams(*outputs["hand"]),
            head_params=HeadParams(*outputs["head"]),
            camera=Camera(500.0 + outputs["camera"][0][:, 0], 112.0 + outputs["camera"][1]),
            deformations=0.01 * deformations.reshape(size, NUM_HEAD_VERTICES, 3),
            contact_logits=ContactLogits(*outputs["contact"]),
            presence_logit=nn.Dense(1, name="presence")(x)[:, 0],
        )

    def _outputs(self, name, x, sizes):
        values = nn.Dense(sum(sizes), name=name)(x)
        return jnp.split(values, np.cumsum(sizes)[:-1], axis=-1)


def create_network(config, hand_model, head_model, *, axis_name=None):
    """Builds the micro network; for `train` and `build_setup` in place of `models.create_model`."""
    del hand_model, head_model
    if not isinstance(config, models.ModelConfig):
        config = models.ModelConfig.from_dict(config)
    return MicroNetwork(config, axis_name, config.mesh_net.encoders.dropout), jnp.zeros((843, 3))


def sample(seed: int) -> dict:
    """An encoded sample with every label, all of them random."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: 0.1 * rng.normal(size=shape)
    keypoints = lambda count: np.column_stack([rng.uniform(40, 180, (count, 2)), np.ones(count)])
    deformed = rng.random(NUM_HEAD_VERTICES) < 0.03
    cell = np.ones((CROP_SIZE // 7, CROP_SIZE // 7, 1), np.uint8)
    return schema.encode(
        dict(
            image=np.kron(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), cell),
            hand_keypoints_2d=keypoints(NUM_HAND_KEYPOINTS),
            head_keypoints_2d=keypoints(NUM_HEAD_KEYPOINTS),
            hand_keypoints_depth=1 + rng.random(NUM_HAND_KEYPOINTS),
            head_keypoints_depth=1 + rng.random(NUM_HEAD_KEYPOINTS),
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
            deformations=0.05 * normal(NUM_HEAD_VERTICES, 3) * deformed[:, None],
            hand_contact=rng.random(NUM_HAND_VERTICES) < 0.1,
            head_contact=deformed,
            subject=seed,
            scene=seed,
            gesture="none",
            skin_tone=0.5,
        )
    )


class RandomSource:
    """A split of random samples; reading one takes `pause` seconds."""

    def __init__(self, size: int, first_seed: int = 0, pause: float = 0.0):
        self._samples, self._pause = [sample(first_seed + i) for i in range(size)], pause

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        time.sleep(self._pause)
        return self._samples[index]


def inputs(pause: float = 0.0, **splits: Sequence[Any]) -> dict[str, Any]:
    """The arguments of `train.train` besides configuration and workdir.

    Args:
        pause: seconds that reading a sample takes.
        splits: samples of "train" or "validation" in place of random ones.
    """

    def open_split(folder, split, size):
        if split in splits:
            return splits[split]
        return RandomSource(size, 1000 * len(split), pause)

    return {"create_network": create_network, "datasets": {NAME: open_split}}


def get_config(**changes) -> ConfigDict:
    """The configuration of the run; `changes` are fields of its top level."""
    made = default.get_config()
    made.update(
        total_steps=24,
        batch_size=8,
        log_every=1,
        checkpoint_every=4,
        validate_every=0,
        sheet_every=0,
        burn_in_steps=0,
        keep_checkpoints=1,
    )
    made.data.name = NAME
    made.data.sizes.update(train=12, validation=3)
    made.data.threads = 1
    made.model.mesh_net.encoders.dropout = 0.1
    made.model.backbone.update(pretrained="", frozen_batch_norm=False)
    made.losses.update({name: 0.0 for name in SLOW_LOSSES})
    made.optimizer.update(learning_rate=1e-3, warmup_steps=0)
    made.update(changes)
    return made


def two_steps(setup, bodies, batch):
    """Runs two updates on one device from random weights.

    Faster than a training, because it compiles neither the initialization nor optimized code.

    Returns:
        The state after them, and the metrics of both.
    """
    shapes = jax.eval_shape(lambda: init_state(setup, bodies, 0))
    one_device = lambda tree: jax.tree.map(lambda x: np.asarray(x)[None], tree)
    state = one_device(jax.tree.map_with_path(_random_array, shapes))
    batch, bodies = one_device(batch), one_device(bodies)
    with chex.fake_pmap():  # compiles faster than on a mesh of one device
        update = jax.jit(parallelize(functools.partial(train_step, setup)))
    update = update.lower(state, batch, bodies).compile(compiler_options=LITTLE_OPTIMIZATION)
    all_metrics = []
    for _ in range(2):
        state, metrics = update(state, batch, bodies)
        all_metrics.append({name: float(value[0]) for name, value in metrics.items()})
    return jax.tree.map(lambda x: np.asarray(x[0]), state), all_metrics


def _random_array(path, like):
    """An initial value for one array of a state, chosen by its name."""
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    if name == "failed_step":
        return np.full(like.shape, -1, like.dtype)
    if name.endswith((".scale", ".var")) and "opt_state" not in name:
        return np.ones(like.shape, like.dtype)
    if like.ndim < 2 or "opt_state" in name:
        return np.zeros(like.shape, like.dtype)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.normal(scale=0.05, size=like.shape).astype(like.dtype)


def main(argv: Sequence[str]) -> None:
    """`train.main` on random samples."""
    train.main(argv, **inputs(pause=float(os.environ.get("MICRO_RUN_PAUSE", "0"))))


if __name__ == "__main__":
    errors.run(main, absl_flags=True)
