"""Times the paper's whole network (240 M weights) against the same network in eager PyTorch.

  python -m tools.benchmarks.network
  python -m tools.benchmarks.network --batch_size 8 --dtype bfloat16 --no_torch

Both run in processes of their own, take turns call by call, and hold random weights. Prints the
median of the calls, compile time, the memory that XLA plans for the forward pass (weights
included), and the most that each process ever held. PyTorch's network is the twin that the tests
compare with, in channels-last, without gradients: it wants torch and a checkout.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

_TWIN_FOLDER = Path(__file__).parents[2] / "tests"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks.network", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument(
        "--repeats", type=int, default=10, help="timed calls (default: 10), after one to warm up"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of JAX; PyTorch: float32",
    )
    parser.add_argument("--no_torch", action="store_true")
    args = parser.parse_args(argv)

    names = ["JAX"] if args.no_torch else ["JAX", "PyTorch"]
    spawn = multiprocessing.get_context("spawn")
    workers = {}
    for name in names:  # one after the other: compilation is timed too
        ours, theirs = spawn.Pipe()
        process = spawn.Process(
            target=_serve, args=(name, theirs, args.batch_size, args.dtype), daemon=True
        )
        process.start()
        workers[name] = ours
        print(f"{name}: {ours.recv()}")

    seconds = {name: [] for name in names}
    for _ in range(args.repeats):
        for name, pipe in workers.items():
            pipe.send("run")
            seconds[name].append(pipe.recv())
    print(f"batch {args.batch_size}, 224 x 224, {args.repeats} calls in turns")
    print(f"{'':8} {'median ms':>10} {'fastest ms':>11} {'peak GB':>8}")
    medians = {}
    for name, pipe in workers.items():
        pipe.send("stop")
        medians[name] = statistics.median(seconds[name])
        print(
            f"{name:8} {1e3 * medians[name]:10.0f} {1e3 * min(seconds[name]):11.0f} {pipe.recv():8.2f}"
        )
    if len(names) == 2:
        print(f"JAX takes {medians['JAX'] / medians['PyTorch']:.2f} of PyTorch's time")
    return 0


def _serve(name: str, pipe, batch_size: int, dtype: str) -> None:
    """Builds a network, says what it is, then answers each "run" with seconds and "stop" with its
    peak memory, GB.
    """
    description, run = (_jax_network if name == "JAX" else _torch_network)(batch_size, dtype)
    run()
    pipe.send(description)
    while pipe.recv() == "run":
        start = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - start)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def _jax_network(batch_size: int, dtype: str) -> tuple[str, Callable[[], None]]:
    import jax
    import jax.numpy as jnp

    from dice_jax import models, xla_flags
    from dice_jax.body_models import assets
    from dice_jax.models import presets

    xla_flags.set_cpu_preset()
    config = presets.release()
    config.dtype = dtype
    network = models.ModelConfig.from_dict(config)
    module, queries = network.create(assets.load_hand(), assets.load_head())
    module = module.clone(fold_batch_norm=True)
    images = jax.ShapeDtypeStruct((batch_size, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), images
    )
    rng = np.random.default_rng(0)
    draw = lambda x: jax.device_put(
        rng.standard_normal(x.shape, np.float32) / np.sqrt(max(np.prod(x.shape[:-1]), 1))
    )
    variables = jax.tree.map(draw, shapes)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))

    start, busy = time.perf_counter(), time.process_time()
    lowered = jax.jit(lambda v, x: module.apply(v, x, queries, train=False)).lower(
        variables, images
    )
    compiled = lowered.compile()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    memory = compiled.memory_analysis()
    planned = (
        memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    )
    pixels = jnp.asarray(rng.standard_normal(images.shape), jnp.float32)
    device = jax.devices()[0]
    description = (
        f"{jax.__version__}, {device.platform} ({device.device_kind}), {dtype}, {count / 1e6:.1f} M weights, "
        f"compiled in {seconds:.1f} s ({busy:.1f} s of processor time), {planned / 1e9:.2f} GB planned"
    )
    return description, lambda: jax.block_until_ready(compiled(variables, pixels))


def _torch_network(batch_size: int, dtype: str) -> tuple[str, Callable[[], None]]:
    import torch

    sys.path.insert(0, str(_TWIN_FOLDER))
    from support import torch_twin

    network = torch_twin.build(torch_twin.Sizes()).to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, 224, 224).to(memory_format=torch.channels_last)
    queries = torch.randn(843, 3)

    def run():
        with torch.inference_mode():
            network(images, queries)

    return (
        f"{torch.__version__}, cpu, {torch.get_num_threads()} threads, float32, channels last",
        run,
    )


if __name__ == "__main__":
    sys.exit(main())
