"""Times the paper's network (240 M weights) and the same network in eager PyTorch.

  python -m tools.benchmarks.network
  python -m tools.benchmarks.network --batch_size 8 --dtype bfloat16 --no_torch

Each network runs in a process of its own, with random weights; their calls alternate. Prints the
median call, the compilation time, the memory that XLA plans for the forward pass (weights included)
and the peak memory of each process. PyTorch's network is the reference implementation of the tests,
in channels-last layout and without gradients; it needs torch and a clone of the repository.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from dice_jax import errors

# JAX is imported inside functions only, to keep it out of PyTorch's process.

_TWIN_FOLDER = Path(__file__).parents[2] / "tests"


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.network")
    add = parser.add_argument
    add("--batch_size", type=int, default=1, help="default: 1")
    add("--repeats", type=int, default=10, help="timed calls, after one warm-up (default: 10)")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of JAX; PyTorch runs in float32 (default: float32)",
    )
    add("--no_torch", action="store_true", help="time JAX alone")
    args = parser.parse_args(argv)

    names = ["JAX"] if args.no_torch else ["JAX", "PyTorch"]
    spawn = multiprocessing.get_context("spawn")
    workers: dict[str, Connection] = {}
    for name in names:  # one after the other, because compilation is timed too
        ours, theirs = spawn.Pipe()
        arguments = (name, theirs, args.batch_size, args.dtype)
        spawn.Process(target=_serve, args=arguments, daemon=True).start()
        workers[name] = ours
        print(f"{name}: {ours.recv()}")

    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name, pipe in workers.items():
            pipe.send("run")
            seconds[name].append(pipe.recv())
    print(f"batch {args.batch_size}, 224 x 224, {args.repeats} alternating calls")
    print(f"{'':8} {'median ms':>10} {'fastest ms':>11} {'peak GB':>8}")
    medians = {}
    for name, pipe in workers.items():
        pipe.send("stop")
        medians[name] = statistics.median(seconds[name])
        milliseconds = f"{1e3 * medians[name]:10.0f} {1e3 * min(seconds[name]):11.0f}"
        print(f"{name:8} {milliseconds} {pipe.recv():8.2f}")
    if len(names) == 2:
        print(f"JAX takes {medians['JAX'] / medians['PyTorch']:.2f} of PyTorch's time")


def _serve(name: str, pipe: Connection, batch_size: int, dtype: str) -> None:
    """The process of one network.

    Sends a description, then the seconds of a call for each "run", and at another word the peak
    memory in GB.
    """
    build = _jax_network if name == "JAX" else _torch_network
    description, run = build(batch_size, dtype)
    run()
    pipe.send(description)
    while pipe.recv() == "run":
        start = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - start)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def _jax_network(batch_size: int, dtype: str) -> tuple[str, Callable[[], object]]:
    """A description of JAX's compiled network, and a function that runs it."""
    import jax
    import jax.numpy as jnp

    from dice_jax import models, xla_flags
    from dice_jax.body_models import assets
    from dice_jax.constants import CROP_SIZE
    from dice_jax.models import presets

    xla_flags.set_cpu_preset()
    config = presets.release()
    config.dtype = dtype
    network = models.ModelConfig.from_dict(config)
    module, queries = network.create(assets.load_hand(), assets.load_head())
    module = module.clone(fold_batch_norm=True)
    images = jax.ShapeDtypeStruct((batch_size, CROP_SIZE, CROP_SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), images
    )
    rng = np.random.default_rng(0)
    draw = lambda x: jax.device_put(
        rng.standard_normal(x.shape, np.float32) / np.sqrt(max(np.prod(x.shape[:-1]), 1))
    )
    variables = jax.tree.map(draw, shapes)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))

    forward = jax.jit(lambda v, x: module.apply(v, x, queries, train=False))
    start, start_cpu = time.perf_counter(), time.process_time()
    compiled = forward.lower(variables, images).compile()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    memory = compiled.memory_analysis()
    planned = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    planned += memory.output_size_in_bytes
    pixels = jnp.asarray(rng.standard_normal(images.shape), jnp.float32)
    device = jax.devices()[0]
    description = (
        f"{jax.__version__}, {device.platform} ({device.device_kind}), {dtype}, "
        f"{count / 1e6:.1f} M weights, compiled in {seconds:.1f} s "
        f"({cpu_seconds:.1f} s of processor time), {planned / 1e9:.2f} GB planned"
    )
    return description, lambda: jax.block_until_ready(compiled(variables, pixels))


def _torch_network(batch_size: int, dtype: str) -> tuple[str, Callable[[], object]]:
    """A description of PyTorch's network, and a function that runs it."""
    import torch

    sys.path.insert(0, str(_TWIN_FOLDER))
    from support import torch_twin

    network = torch_twin.build(torch_twin.Sizes()).to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, 224, 224).to(memory_format=torch.channels_last)
    queries = torch.randn(843, 3)

    def run():
        with torch.inference_mode():
            network(images, queries)

    threads = torch.get_num_threads()
    return f"{torch.__version__}, cpu, {threads} threads, float32, channels last", run


if __name__ == "__main__":
    errors.run(main)
