"""Times `dice_jax.infer`: median over repeated calls, images on the host before and predictions
ready after.

python -m tools.benchmarks.inference
python -m tools.benchmarks.inference --weights runs/full --batch_sizes 1 8 32
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import jax
import numpy as np

from dice_jax import errors, inference, xla_flags
from dice_jax.constants import CROP_SIZE


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks.inference", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--weights", default="default", help="shipped weights, an export or a training workdir"
    )
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument(
        "--repeats", type=int, default=20, help="timed calls of each batch size (default: 20)"
    )
    args = parser.parse_args(argv)
    if min(args.batch_sizes) < 1 or args.repeats < 1:
        parser.error("--batch_sizes and --repeats must be at least 1")
    xla_flags.set_cpu_preset()
    try:
        model = inference.load(args.weights)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.EXIT_CODE

    device = jax.devices()[0]
    dtype = model.module.config.dtype
    print(
        f"{args.weights} weights, {device.platform} ({device.device_kind}), jax {jax.__version__}, dtype {dtype}"
    )
    print(
        f"{'batch':>5}  {'compile s':>9}  {'median ms':>9}  {'fastest ms':>10}  {'ms an image':>11}"
    )
    for batch_size in args.batch_sizes:
        compile_seconds, seconds = measure(model, batch_size, args.repeats)
        median = 1e3 * statistics.median(seconds)
        print(
            f"{batch_size:5d}  {compile_seconds:9.2f}  {median:9.1f}  {1e3 * min(seconds):10.1f}  {median / batch_size:11.1f}"
        )
    return 0


def measure(model: inference.Model, batch_size: int, repeats: int) -> tuple[float, list[float]]:
    """Seconds to compile for a batch size, and of each of `repeats` calls after a warm-up call."""
    shape = (batch_size, CROP_SIZE, CROP_SIZE, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    start = time.perf_counter()
    compiled = inference.infer.lower(model, images).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(compiled(model, images))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(model, images))
        seconds.append(time.perf_counter() - start)
    return compile_seconds, seconds


if __name__ == "__main__":
    sys.exit(main())
