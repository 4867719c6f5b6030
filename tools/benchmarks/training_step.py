"""Times one training step and tells its memory: by batch size, without the network, and over
several devices.

  python -m tools.benchmarks.training_step --recipe synthetic --batches 1 2          # the paper's network
  python -m tools.benchmarks.training_step --recipe small --batches 4 8 16 --devices 8

Rows: the whole step; the same step around a network whose answer is its only weights, that is
skinning, losses, rendered depth, collision, discriminators and their gradients; touch and collision
alone, with gradients. Milliseconds are medians of calls that are waited for, memory is what XLA
plans for one: weights, optimizer, activations, gradients. With --devices N, N virtual CPU devices
share the cores: N times the work of one device, so without any cost of sharding the step over N
takes N times as long as on one. Random samples, random weights, every loss of the recipe on.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dice_jax import xla_flags
from dice_jax.configs import ablations
from dice_jax.constants import CROP_SIZE
from dice_jax.input_pipeline import loader, schema
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
from dice_jax.training.setup import build_setup
from dice_jax.training.step import train_step

TOUCH_BATCH = 16


class Answers(nn.Module):
    """In place of a network: the answer is a weight, so that a step does everything but compute it."""

    config: object

    @nn.compact
    def __call__(self, images, queries, *, train):
        del queries, train
        size = len(images)

        def answer(name, *shape, start=0.0):
            value = self.param(name, nn.initializers.normal(0.01), shape)
            return jnp.broadcast_to(value + jnp.asarray(start), (size, *shape))

        self.variable("batch_stats", "none", jnp.zeros, ())
        points = lambda name, count: answer(name, count, 3)
        return NetworkOutput(
            rough=RoughMeshes(
                *(points(f"rough_{count}", count) for count in (21, 68, 195, 778, 559, 1675, 5023))
            ),
            hand_params=HandParams(
                answer("hand_betas", 10),
                answer("hand_orient", 3, start=[-1.2, -1.2, 1.2]),
                answer("hand_pose", 45),
                answer("hand_transl", 3, start=[0.0, 0.0, -0.12]),
            ),
            head_params=HeadParams(
                answer("head_betas", 100),
                answer("expression", 50),
                answer("head_orient", 3, start=[3.1, 0.0, 0.0]),
                answer("neck", 3),
                answer("jaw", 3),
                jnp.zeros((size, 3)),
            ),
            camera=Camera(answer("scale", start=550.0), answer("transl", 2, start=112.0)),
            deformations=points("deformations", 5023),
            contact_logits=ContactLogits(
                *(answer(f"contact_{count}", count) for count in (195, 778, 559, 1675, 5023))
            ),
            presence_logit=answer("presence"),
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", default="small", help="small, tiny or synthetic (configs/full.py:synthetic)"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[4], help="samples a device (default: 4)"
    )
    parser.add_argument("--devices", type=int, default=1, help="also over so many virtual devices")
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed calls of each row (default: 5)"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--accumulate_steps", type=int, default=1)
    parser.add_argument(
        "--remat",
        action="store_true",
        help="recompute the transformers' layers in the backward pass",
    )
    args = parser.parse_args(argv)
    if args.devices > 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={args.devices}"
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()

    setup, bodies = build_setup(configuration(args))
    device = jax.devices()[0]
    print(
        f"{args.recipe}, {device.platform} {device.device_kind}, {os.cpu_count()} cores, {args.dtype}, seed 0, "
        f"median of {args.repeats}"
    )
    print(f"{'':34} {'batch':>6} {'ms':>9} {'ms/image':>9} {'GB':>7}")
    losses = dataclasses.replace(setup.losses, heatmaps=0.0)  # part of the networks that have them
    rest = dataclasses.replace(setup, network=Answers(setup.network.config), losses=losses)
    for size in args.batches:
        whole_ms = row("step", measure(setup, bodies, size, 1, args.repeats), size)
        rest_ms = row("all but the network", measure(rest, bodies, size, 1, args.repeats), size)
        print(f"{'':34} {100 * rest_ms / whole_ms:.0f} % of the step is not the network")
        if args.devices > 1:
            name = f"step, {args.devices} devices"
            ms = row(
                name, measure(setup, bodies, size, args.devices, args.repeats), size * args.devices
            )
            print(
                f"{'':34} {100 * (ms / (args.devices * whole_ms) - 1):+.0f} % against {args.devices} times one device"
            )
    row(
        f"touch and collision, {TOUCH_BATCH} samples",
        measure_touch(bodies, args.repeats),
        TOUCH_BATCH,
    )


def configuration(args: argparse.Namespace):
    """The recipe with random weights and all losses from the first step."""
    config = ablations.get_config(args.setup)
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


def measure(setup, bodies, size: int, count: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of a step of `size` samples on each of `count` devices, and GB planned for each."""
    devices = jax.devices()[:count]
    mesh = jax.sharding.Mesh(np.array(devices), (data_parallel.AXIS,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(data_parallel.AXIS))
    copies = lambda tree: jax.device_put(
        jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (count, *np.shape(x))), tree), split
    )
    state = copies(init_state(setup, bodies, 0))
    batch = jax.tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), random_batch(size * count))
    inputs = jax.device_put(batch, split), copies(bodies)
    step = jax.pmap(
        functools.partial(train_step, setup),
        data_parallel.AXIS,
        devices=devices,
        donate_argnums=(0,),
    )
    memory = step.lower(state, *inputs).compile().memory_analysis()
    planned = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    state, _ = jax.block_until_ready(step(state, *inputs))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, *inputs))
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds), planned / 1e9


def measure_touch(bodies, repeats: int) -> tuple[float, float]:
    """Milliseconds and GB of the touch and collision losses with gradients, half of all vertices in
    contact.
    """
    rng = np.random.default_rng(0)
    tile = lambda x: jnp.tile(
        jnp.asarray(x - np.asarray(x).mean(0), jnp.float32), (TOUCH_BATCH, 1, 1)
    )
    hand, head = (
        tile(bodies.hand.v_template) + jnp.array([0.03, 0.0, 0.1]),
        tile(bodies.head.v_template),
    )
    probabilities = [
        jnp.asarray(rng.random((TOUCH_BATCH, count)), jnp.float32) for count in (778, 5023)
    ]

    def loss(hand, head):
        touching = touch_loss(hand, head, *probabilities)
        return (
            touching + collision_loss(hand, head, bodies.head.closed_faces, ~bodies.head.cavity)
        ).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(hand, head).compile()
    memory = compiled.memory_analysis()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(compiled(hand, head))
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[1:]), (
        memory.argument_size_in_bytes + memory.temp_size_in_bytes
    ) / 1e9


def random_batch(size: int) -> Batch:
    """Samples with every label."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: (0.1 * rng.normal(size=shape)).astype(np.float32)

    def sample():
        keypoints = lambda count: np.column_stack(
            [rng.uniform(40, 180, (count, 2)), np.ones(count)]
        )
        return dict(
            image=rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8),
            hand_keypoints_2d=keypoints(21),
            head_keypoints_2d=keypoints(68),
            hand_keypoints_depth=1 + rng.random(21),
            head_keypoints_depth=1 + rng.random(68),
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
            deformations=0.1 * normal(5023, 3),
            hand_contact=rng.random(778) < 0.1,
            head_contact=rng.random(5023) < 0.1,
        )

    return loader.collate([sample() for _ in range(size)])


if __name__ == "__main__":
    main()
