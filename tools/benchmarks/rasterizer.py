"""Times the rasterizer on the open hand before the open head.

  python tools/benchmarks/rasterizer.py --size 224 --batches 1 8
  taskset -c 0 python tools/benchmarks/rasterizer.py        # one CPU core

Prints milliseconds an IMAGE: the median of `--repeats` calls, each waited for. `forward` finds the
visible face and its depth at every pixel, `gradient` also differentiates the mean depth by every
vertex. Small zooms have faces below a pixel; large ones have faces of hundreds of pixels.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax.body_models.assets import load_hand, load_head
from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.rasterize import rasterize


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, default=224, help="side of the square image, pixels (default 224)"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 8], help="batch sizes (default 1 8)"
    )
    parser.add_argument(
        "--zooms",
        type=float,
        nargs="+",
        default=[0.2, 1.0, 5.0],
        help="1 lets the head fill the image (default 0.2 1 5)",
    )
    parser.add_argument("--repeats", type=int, default=11, help="timed calls per row (default 11)")
    arguments = parser.parse_args()

    vertices, faces = scene()
    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind}, {len(faces)} faces, {arguments.size} x {arguments.size}, "
        f"{vertices.dtype}, milliseconds an image (median of {arguments.repeats})"
    )
    print(f"{'zoom':>6} {'batch':>6} {'seen px':>8} {'overflow':>8} {'forward':>9} {'gradient':>9}")
    draw = jax.jit(lambda points: rasterize(points, faces, arguments.size, arguments.size))
    gradient = jax.jit(jax.grad(lambda points: mean_depth(draw(points))))
    for zoom in arguments.zooms:
        scale, center = jnp.asarray(arguments.size * 3.4 * zoom), jnp.full(2, arguments.size / 2)
        screen = orthographic_to_screen(vertices, scale, center)
        for batch in arguments.batches:
            points = jnp.tile(screen, (batch, 1, 1))
            fragments = draw(points)
            seen, overflow = int((fragments.face_ids[0] >= 0).sum()), int(fragments.overflow.sum())
            times = [
                median_ms(function, points, arguments.repeats) / batch
                for function in (draw, gradient)
            ]
            print(f"{zoom:6.2f} {batch:6d} {seen:8d} {overflow:8d} {times[0]:9.2f} {times[1]:9.2f}")


def scene() -> tuple[jnp.ndarray, jnp.ndarray]:
    """The hand at rest before the face, camera axes: (5801, 3) meters and (11514, 3)."""
    head, hand = load_head(), load_hand()
    parts = [
        np.asarray(model.v_template) - np.asarray(model.v_template).mean(0)
        for model in (head, hand)
    ]
    parts = [part * [1, -1, -1] for part in parts]
    vertices = np.concatenate([parts[0], parts[1] + [0.03, 0.04, -0.14]])
    return jnp.asarray(vertices, jnp.float32), jnp.concatenate(
        [head.faces, hand.faces + len(parts[0])]
    )


def mean_depth(fragments) -> jnp.ndarray:
    return jnp.where(fragments.face_ids >= 0, fragments.depth, 0.0).mean()


def median_ms(function, points, repeats: int) -> float:
    jax.block_until_ready(function(points))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(points))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
