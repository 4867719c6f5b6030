"""Times `dice_jax.infer`, from images on the host to predictions on the device.

  python -m tools.benchmarks.inference
  python -m tools.benchmarks.inference --weights runs/full --batch_sizes 1 8 32

Prints compilation time, and the median and fastest call for each batch size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import jax
import numpy as np

from dice_jax import errors, inference, xla_flags
from dice_jax.constants import CROP_SIZE
from tools.benchmarks.timing import call_seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.inference")
    add = parser.add_argument
    add(
        "--weights",
        default="default",
        help="shipped weights, an exported folder or a training workdir (default: default)",
    )
    add("--batch_sizes", type=int, nargs="+", default=[1, 8], help="default: 1 8")
    add("--repeats", type=int, default=20, help="timed calls per batch size (default: 20)")
    args = parser.parse_args(argv)
    if min(args.batch_sizes) < 1 or args.repeats < 1:
        parser.error("--batch_sizes and --repeats must be at least 1")
    xla_flags.set_cpu_preset()
    model = inference.load(args.weights)

    device = jax.devices()[0]
    print(
        f"{args.weights} weights, {device.platform} ({device.device_kind}), jax {jax.__version__}, "
        f"dtype {model.module.config.dtype}"
    )
    print("batch  compile s  median ms  fastest ms  ms per image")
    for batch_size in args.batch_sizes:
        compile_seconds, seconds = measure(model, batch_size, args.repeats)
        median, fastest = 1e3 * statistics.median(seconds), 1e3 * min(seconds)
        print(
            f"{batch_size:5d}  {compile_seconds:9.2f}  {median:9.1f}  {fastest:10.1f}  "
            f"{median / batch_size:12.1f}"
        )


def measure(model: inference.Model, batch_size: int, repeats: int) -> tuple[float, list[float]]:
    """Seconds to compile for a batch size, and seconds of each of `repeats` calls."""
    shape = (batch_size, CROP_SIZE, CROP_SIZE, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    start = time.perf_counter()
    compiled = inference.infer_checked.lower(model, images).compile()
    compile_seconds = time.perf_counter() - start
    return compile_seconds, call_seconds(compiled, model, images, repeats=repeats)


if __name__ == "__main__":
    errors.run(main)
