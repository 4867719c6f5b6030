"""Times the rasterizer on the open hand in front of the open head.

  python -m tools.benchmarks.rasterizer --size 224 --batches 1 8
  taskset -c 0 python -m tools.benchmarks.rasterizer        # one CPU core

Prints milliseconds per IMAGE (median over `--repeats` calls). `forward` finds the visible face and
its depth at every pixel. `gradient` also differentiates the mean depth by every vertex. At small
zooms faces are smaller than a pixel; at large zooms they cover hundreds of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax import errors
from dice_jax.body_models.assets import load_hand, load_head
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.rasterize import Fragments, rasterize
from tools.benchmarks.timing import median_ms


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.rasterizer")
    add = parser.add_argument
    add("--size", type=int, default=CROP_SIZE, help="side of the image, pixels (default: 224)")
    add("--batches", type=int, nargs="+", default=[1, 8], help="batch sizes (default: 1 8)")
    add(
        "--zooms",
        type=float,
        nargs="+",
        default=[0.2, 1.0, 5.0],
        help="at 1 the head fills the image (default: 0.2 1 5)",
    )
    add("--repeats", type=int, default=11, help="timed calls per row (default: 11)")
    args = parser.parse_args(argv)

    size, repeats = args.size, args.repeats
    vertices, faces = scene()
    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind}, {len(faces)} faces, {size} x {size}, "
        f"{vertices.dtype}, milliseconds per image (median of {repeats})"
    )
    print(f"{'zoom':>6} {'batch':>6} {'seen px':>8} {'overflow':>8} {'forward':>9} {'gradient':>9}")
    draw = jax.jit(lambda points: rasterize(points, faces, size, size))
    gradient = jax.jit(jax.grad(lambda points: mean_depth(draw(points))))
    for zoom in args.zooms:
        scale, center = jnp.asarray(size * 3.4 * zoom), jnp.full(2, size / 2)
        screen = orthographic_to_screen(vertices, scale, center)
        for batch in args.batches:
            points = jnp.tile(screen, (batch, 1, 1))
            fragments = draw(points)
            seen, overflow = int((fragments.face_ids[0] >= 0).sum()), int(fragments.overflow.sum())
            forward_ms = median_ms(draw, points, repeats=repeats) / batch
            gradient_ms = median_ms(gradient, points, repeats=repeats) / batch
            print(
                f"{zoom:6.2f} {batch:6d} {seen:8d} {overflow:8d} "
                f"{forward_ms:9.2f} {gradient_ms:9.2f}"
            )


def scene() -> tuple[jax.Array, jax.Array]:
    """The hand in its rest pose in front of the face.

    Returns:
        Vertices (5801, 3) in meters, camera axes, and faces (11514, 3).
    """
    head, hand = load_head(), load_hand()
    head_vertices, hand_vertices = (
        (np.asarray(model.v_template) - np.asarray(model.v_template).mean(0)) * [1, -1, -1]
        for model in (head, hand)
    )
    vertices = np.concatenate([head_vertices, hand_vertices + [0.03, 0.04, -0.14]])
    faces = np.concatenate([np.asarray(head.faces), np.asarray(hand.faces) + len(head_vertices)])
    return jnp.asarray(vertices, jnp.float32), jnp.asarray(faces)


def mean_depth(fragments: Fragments) -> jax.Array:
    """The depth over the image, 0 at empty pixels, averaged."""
    return jnp.where(fragments.face_ids >= 0, fragments.depth, 0.0).mean()


if __name__ == "__main__":
    errors.run(main)
