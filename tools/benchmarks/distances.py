"""Times distance functions between the open hand (778 points) and head (9976 faces).

  python -m tools.benchmarks.distances --batches 1 8
  taskset -c 0 python -m tools.benchmarks.distances         # one CPU core

Prints milliseconds per SAMPLE (median over `--repeats` calls) and the temporary memory of the whole
batch. Chamfer is the distance to the nearest vertex in both directions. The distance to the surface
compares every point with every face. The inside test is a winding number on the head, closed at the
neck.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax import errors
from dice_jax.body_models.assets import load_hand, load_head
from dice_jax.geometry.nearest import closest_point_on_mesh, nearest_neighbors
from dice_jax.geometry.sdf import inside, signed_distance
from tools.benchmarks.timing import median_ms


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.distances")
    add = parser.add_argument
    add("--batches", type=int, nargs="+", default=[1, 8], help="batch sizes (default: 1 8)")
    add("--repeats", type=int, default=7, help="timed calls per row (default: 7)")
    args = parser.parse_args(argv)

    head, hand = load_head(), load_hand()
    head_vertices = jnp.asarray(head.v_template - np.asarray(head.v_template).mean(0), jnp.float32)
    hand_vertices = jnp.asarray(hand.v_template - np.asarray(hand.v_template).mean(0), jnp.float32)
    hand_vertices += jnp.array([[0.03, 0.0, 0.1]])  # partly inside the face
    faces, closed_faces = jnp.asarray(head.faces), jnp.asarray(head.closed_faces)

    def chamfer(points, vertices):
        to_vertices = nearest_neighbors(points, vertices)[0]
        to_points = nearest_neighbors(vertices, points)[0]
        return to_vertices.mean() + to_points.mean()

    def signed(points, vertices):
        return signed_distance(points, vertices, faces, closed_faces=closed_faces)

    functions = {
        "chamfer": chamfer,
        "chamfer, gradient": jax.grad(chamfer, (0, 1)),
        "inside": lambda points, vertices: inside(points, vertices, closed_faces),
        "closest point on mesh": lambda *inputs: closest_point_on_mesh(*inputs, faces),
        "signed distance": signed,
        "signed distance, gradient": jax.grad(lambda *inputs: signed(*inputs).sum(), (0, 1)),
    }
    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind}, {hand_vertices.dtype}, milliseconds per sample "
        f"(median of {args.repeats}) and MiB of temporary memory"
    )
    print(f"{'function':<26} {'batch':>6} {'time':>9} {'memory':>8}")
    for name, function in functions.items():
        for batch in args.batches:
            inputs = jnp.tile(hand_vertices, (batch, 1, 1)), jnp.tile(head_vertices, (batch, 1, 1))
            compiled = jax.jit(function).lower(*inputs).compile()
            memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
            time_ms = median_ms(compiled, *inputs, repeats=args.repeats) / batch
            print(f"{name:<26} {batch:6d} {time_ms:9.2f} {memory:8.1f}")


if __name__ == "__main__":
    errors.run(main)
