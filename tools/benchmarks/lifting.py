"""Times the making of samples for `small:lifting`: new views of scenes, and landmarks with errors.

  python -m tools.benchmarks.lifting --batches 16 64

Each sample is a scene turned before a camera of its own, with the landmarks that a detector would
say of it, see `training.lifting` and `training.evidence`. Times are medians over calls; scenes are
random poses, which cost the same as solved ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from dice_jax import errors, xla_flags
from dice_jax.body_models import load_hand, load_head
from dice_jax.configs import small
from dice_jax.input_pipeline import loader, schema
from dice_jax.structs import Batch
from dice_jax.training import evidence, lifting
from tools.benchmarks.timing import median_ms


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.lifting")
    add = parser.add_argument
    add("--batches", type=int, nargs="+", default=[16, 64], help="batch sizes (default: 16 64)")
    add("--repeats", type=int, default=10, help="calls to time (default: 10)")
    add("--seed", type=int, default=0, help="of the scenes and the views (default: 0)")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    bodies, config = (load_hand(), load_head()), small.get_config("lifting")
    ranges = lifting.ViewRanges(**config.views)
    mix = evidence.EvidenceMix(**config.evidence)

    @jax.jit
    def make(key, batch):
        batch = lifting.new_views(key, batch, *bodies, ranges)
        return evidence.draw(key, batch, *bodies, mix)

    device = jax.devices()[0]
    print(f"{jax.device_count()} x {device.device_kind}, float32, seed {args.seed}, ", end="")
    print(f"medians of {args.repeats} calls")
    print(f"{'batch':>6} {'ms':>8} {'samples/min':>12}")
    for size in args.batches:
        batch = _random_batch(np.random.default_rng(args.seed), size)
        key = jax.random.key(args.seed)
        milliseconds = median_ms(make, key, batch, repeats=args.repeats)
        print(f"{size:6} {milliseconds:8.1f} {60_000 * size / milliseconds:12.0f}")


def _random_batch(rng: np.random.Generator, size: int) -> Batch:
    """Every label at random, with a hand before a head 0.8 m away."""

    def sample():
        values = {
            name: 0.1 * rng.normal(size=schema.shape_of(name)).astype(np.float32)
            for name, field in schema.FEATURES.items()
            if field.dtype == "float32"
        }
        for part, depth in (("hand", 0.7), ("head", 0.8)):
            values[f"{part}_transl"][2] += depth
            values[f"{part}_keypoints_2d"][:, 2] = 1.0
        return values | {
            "image": np.zeros((224, 224, 3), np.uint8),
            "deformations": np.zeros(schema.shape_of("deformations"), np.float32),
            "focal_length": np.float32(400.0),
            "camera_center": np.full(2, 112.0, np.float32),
        }

    return loader.collate([sample() for _ in range(size)])


if __name__ == "__main__":
    errors.run(main)
