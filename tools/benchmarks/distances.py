"""Times the distance functions on the open hand (778 points) and the open head (5023 points, 9976
faces).

  python tools/benchmarks/distances.py --batches 1 8
  taskset -c 0 python tools/benchmarks/distances.py         # one CPU core

Prints milliseconds a SAMPLE (the median of `--repeats` calls, each waited for) and the temporary
memory of the whole batch. Chamfer is nearest neighbors both ways; the exact distance to the
surface compares every point with every face; the inside test is a winding number on the head,
closed at the neck.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax.body_models.assets import load_hand, load_head
from dice_jax.geometry.nearest import closest_point_on_mesh, nearest_neighbors
from dice_jax.geometry.sdf import inside, signed_distance


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 8], help="batch sizes (default 1 8)"
    )
    parser.add_argument("--repeats", type=int, default=7, help="timed calls per row (default 7)")
    arguments = parser.parse_args()

    head, hand = load_head(), load_hand()
    head_vertices = jnp.asarray(head.v_template - np.asarray(head.v_template).mean(0), jnp.float32)
    hand_vertices = jnp.asarray(hand.v_template - np.asarray(hand.v_template).mean(0), jnp.float32)
    hand_vertices += jnp.array([0.03, 0.0, 0.1])  # partly inside the face
    faces, closed_faces = jnp.asarray(head.faces), jnp.asarray(head.closed_faces)

    def chamfer(points, vertices):
        return (
            nearest_neighbors(points, vertices)[0].mean()
            + nearest_neighbors(vertices, points)[0].mean()
        )

    def signed(points, vertices):
        return signed_distance(points, vertices, faces, closed_faces=closed_faces)

    functions = {
        "chamfer": chamfer,
        "chamfer, gradient": jax.grad(chamfer, (0, 1)),
        "inside": lambda points, vertices: inside(points, vertices, closed_faces),
        "closest point on mesh": lambda points, vertices: closest_point_on_mesh(
            points, vertices, faces
        ),
        "signed distance": signed,
        "signed distance, gradient": jax.grad(
            lambda points, vertices: signed(points, vertices).sum(), (0, 1)
        ),
    }
    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind}, {hand_vertices.dtype}, milliseconds a sample "
        f"(median of {arguments.repeats}) and MiB of temporary memory"
    )
    print(f"{'function':<26} {'batch':>6} {'time':>9} {'memory':>8}")
    for name, function in functions.items():
        for batch in arguments.batches:
            inputs = jnp.tile(hand_vertices, (batch, 1, 1)), jnp.tile(head_vertices, (batch, 1, 1))
            compiled = jax.jit(function).lower(*inputs).compile()
            memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
            time_ms = median_ms(compiled, inputs, arguments.repeats) / batch
            print(f"{name:<26} {batch:6d} {time_ms:9.2f} {memory:8.1f}")


def median_ms(function, inputs, repeats: int) -> float:
    jax.block_until_ready(function(*inputs))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*inputs))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
