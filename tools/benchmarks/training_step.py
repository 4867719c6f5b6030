"""Times a training step and reports its memory, per batch size and over several devices.

  python -m tools.benchmarks.training_step --config synthetic --batches 1 2      # paper's network
  python -m tools.benchmarks.training_step --config small --batches 4 8 16 --devices 8

Rows: the whole step; the same step with a network that only returns its weights, which leaves
skinning, losses, rendered depth, collision, discriminators and their gradients; the touch and
collision losses alone, with gradients. Milliseconds are medians over calls. Memory is what XLA
plans: weights, optimizer, activations and gradients. Samples and weights are random, and every loss
of the config is on.

With --devices N, N virtual CPU devices share the cores and do N times the work of one device. The
step over N devices takes N times as long as on one if distribution is free of cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from dice_jax import errors, xla_flags
from dice_jax.configs import ablations
from dice_jax.constants import (
    CROP_SIZE,
    HAND_LEVELS,
    HEAD_LEVELS,
    NUM_HAND_KEYPOINTS,
    NUM_HAND_VERTICES,
    NUM_HEAD_KEYPOINTS,
    NUM_HEAD_VERTICES,
)
from dice_jax.input_pipeline import loader
from dice_jax.losses.touch import collision_loss, touch_loss
from dice_jax.structs import (
    Batch,
    Camera,
    ContactLogits,
    HandParams,
    HeadParams,
    NetworkOutput,
    RoughMeshes,
)
from dice_jax.training import data_parallel
from dice_jax.training.initial_state import init_state
from dice_jax.training.setup import BodyModels, TrainSetup, build_setup
from dice_jax.training.step import train_step
from tools.benchmarks.timing import median_ms

TOUCH_BATCH = 16


class WeightsOnly(nn.Module):
    """Takes the place of the network; its outputs are weights and need no computation."""

    config: object

    @nn.compact
    def __call__(self, images, queries, *, train):
        del queries, train
        size = len(images)

        def weight(name, *shape, start=0.0):
            value = self.param(name, nn.initializers.normal(0.01), shape)
            return jnp.broadcast_to(value + jnp.asarray(start), (size, *shape))

        self.variable("batch_stats", "none", jnp.zeros, ())
        points = lambda name, count: weight(name, count, 3)
        vertex_counts = (*reversed(HAND_LEVELS), *reversed(HEAD_LEVELS))
        rough_counts = (NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS, *vertex_counts)
        return NetworkOutput(
            rough=RoughMeshes(*(points(f"rough_{count}", count) for count in rough_counts)),
            hand_params=HandParams(
                weight("hand_betas", 10),
                weight("hand_orient", 3, start=[-1.2, -1.2, 1.2]),
                weight("hand_pose", 45),
                weight("hand_transl", 3, start=[0.0, 0.0, -0.12]),
            ),
            head_params=HeadParams(
                weight("head_betas", 100),
                weight("expression", 50),
                weight("head_orient", 3, start=[3.1, 0.0, 0.0]),
                weight("neck", 3),
                weight("jaw", 3),
                jnp.zeros((size, 3)),
            ),
            camera=Camera(weight("scale", start=550.0), weight("transl", 2, start=112.0)),
            deformations=points("deformations", NUM_HEAD_VERTICES),
            contact_logits=ContactLogits(
                *(weight(f"contact_{count}", count) for count in vertex_counts)
            ),
            presence_logit=weight("presence"),
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.training_step")
    add = parser.add_argument
    add(
        "--config",
        choices=list(ablations.BASES),
        default="small",
        help="synthetic is full:synthetic (default: small)",
    )
    add("--batches", type=int, nargs="+", default=[4], help="samples per device (default: 4)")
    add("--devices", type=int, default=1, help="number of virtual devices (default: 1)")
    add("--repeats", type=int, default=5, help="timed calls per row (default: 5)")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="default: float32")
    add("--accumulate_steps", type=int, default=1, help="micro-batches per update (default: 1)")
    add("--remat", action="store_true", help="recompute transformer layers in the backward pass")
    args = parser.parse_args(argv)
    if args.devices > 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={args.devices}"
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()

    repeats, count = args.repeats, args.devices
    setup, bodies = build_setup(configuration(args))
    device = jax.devices()[0]
    print(
        f"{args.config}, {device.platform} {device.device_kind}, {os.cpu_count()} cores, "
        f"{args.dtype}, seed 0, median of {repeats}"
    )
    print(f"{'':34} {'batch':>6} {'ms':>9} {'ms/image':>9} {'GB':>7}")
    losses = dataclasses.replace(setup.losses, heatmaps=0.0)  # only some networks have heatmaps
    rest = dataclasses.replace(setup, network=WeightsOnly(setup.network.config), losses=losses)
    for size in args.batches:
        whole_ms = row("step", measure(setup, bodies, size, 1, repeats), size)
        rest_ms = row("all but the network", measure(rest, bodies, size, 1, repeats), size)
        print(f"{'':34} {100 * rest_ms / whole_ms:.0f} % of the step is not the network")
        if count > 1:
            measured = measure(setup, bodies, size, count, repeats)
            ms = row(f"step, {count} devices", measured, size * count)
            overhead = 100 * (ms / (count * whole_ms) - 1)
            print(f"{'':34} {overhead:+.0f} % compared with {count} times one device")
    measured = measure_touch(bodies, repeats)
    row(f"touch and collision, {TOUCH_BATCH} samples", measured, TOUCH_BATCH)


def configuration(args: argparse.Namespace) -> ConfigDict:
    """The config with random weights and all losses from the first step."""
    config = ablations.base_config(args.config)
    config.burn_in_steps, config.accumulate_steps = 0, args.accumulate_steps
    config.model.backbone.pretrained, config.model.dtype = "", args.dtype
    for net in (config.model.mesh_net, config.model.interaction_net):
        net.encoders.remat = args.remat
    return config


def row(name: str, measured: tuple[float, float], size: int) -> float:
    """Prints a row; returns its milliseconds."""
    ms, gigabytes = measured
    print(f"{name:34} {size:6d} {ms:9.1f} {ms / size:9.1f} {gigabytes:7.2f}", flush=True)
    return ms


def measure(
    setup: TrainSetup, bodies: BodyModels, size: int, count: int, repeats: int
) -> tuple[float, float]:
    """Times a step.

    Args:
        setup, bodies: from `build_setup`.
        size: samples on each device.
        count: number of devices.
        repeats: timed calls.

    Returns:
        Milliseconds of a step, and the GB that XLA plans for each device.
    """
    devices = jax.devices()[:count]
    mesh = jax.sharding.Mesh(np.array(devices), (data_parallel.AXIS,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(data_parallel.AXIS))
    repeat = lambda x: np.broadcast_to(np.asarray(x), (count, *np.shape(x)))
    copies = lambda tree: jax.device_put(jax.tree.map(repeat, tree), split)
    state = copies(init_state(setup, bodies, 0))
    batch = jax.tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), random_batch(size * count))
    inputs = jax.device_put(batch, split), copies(bodies)
    step = jax.pmap(
        functools.partial(train_step, setup),
        data_parallel.AXIS,
        devices=devices,
        donate_argnums=(0,),
    )
    planned = planned_gigabytes(step.lower(state, *inputs).compile())
    state, _ = jax.block_until_ready(step(state, *inputs))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, *inputs))
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds), planned


def measure_touch(bodies: BodyModels, repeats: int) -> tuple[float, float]:
    """Milliseconds and planned GB of the touch and collision losses with their gradients.

    Half of all vertices are in contact.
    """
    rng = np.random.default_rng(0)
    center = lambda x: jnp.asarray(x - np.asarray(x).mean(0), jnp.float32)
    tile = lambda x: jnp.tile(center(x), (TOUCH_BATCH, 1, 1))
    hand = tile(bodies.hand.v_template) + jnp.array([[[0.03, 0.0, 0.1]]])
    head = tile(bodies.head.v_template)
    probabilities = [
        jnp.asarray(rng.random((TOUCH_BATCH, count)), jnp.float32)
        for count in (NUM_HAND_VERTICES, NUM_HEAD_VERTICES)
    ]

    def loss(hand, head):
        touch = touch_loss(hand, head, *probabilities)
        skin = ~bodies.head.cavity
        return (touch + collision_loss(hand, head, bodies.head.closed_faces, skin)).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(hand, head).compile()
    return median_ms(compiled, hand, head, repeats=repeats), planned_gigabytes(compiled)


def planned_gigabytes(compiled: Any) -> float:
    """The memory that XLA plans for the inputs and temporaries of a compiled function."""
    memory = compiled.memory_analysis()
    return (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e9


def random_batch(size: int) -> Batch:
    """Random samples with every label."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: (0.1 * rng.normal(size=shape)).astype(np.float32)

    def sample():
        pixels = lambda count: rng.uniform(40, 180, (count, 2))
        keypoints = lambda count: np.column_stack([pixels(count), np.ones(count)])
        return dict(
            image=rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8),
            hand_keypoints_2d=keypoints(NUM_HAND_KEYPOINTS),
            head_keypoints_2d=keypoints(NUM_HEAD_KEYPOINTS),
            hand_keypoints_depth=1 + rng.random(NUM_HAND_KEYPOINTS),
            head_keypoints_depth=1 + rng.random(NUM_HEAD_KEYPOINTS),
            hand_betas=normal(10),
            hand_global_orient=normal(3),
            hand_pose=normal(45),
            hand_transl=normal(3),
            head_betas=normal(100),
            head_expression=normal(50),
            head_global_orient=normal(3),
            head_neck_pose=normal(3),
            head_jaw_pose=normal(3),
            head_transl=normal(3),
            deformations=0.1 * normal(NUM_HEAD_VERTICES, 3),
            hand_contact=rng.random(NUM_HAND_VERTICES) < 0.1,
            head_contact=rng.random(NUM_HEAD_VERTICES) < 0.1,
        )

    return loader.collate([sample() for _ in range(size)])


if __name__ == "__main__":
    errors.run(main)
