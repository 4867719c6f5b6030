"""Times the demo's pictures of one person, on the package's sample photos.

  python -m tools.benchmarks.pictures
  python -m tools.benchmarks.pictures --image photo.jpg --repeats 20

Prints medians of wall-clock milliseconds, and of the processor time of all threads, which other
programs on the machine change less: the overlay alone, the sheet of views, all pictures, and
writing them as PNG.
"""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import dice_jax
from dice_jax import errors, inference, reconstruction, xla_flags
from dice_jax.io import images
from dice_jax.person import Person
from dice_jax.visualization import demo_results

_SAMPLES = Path(dice_jax.__file__).parent / "samples"


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.pictures")
    add = parser.add_argument
    add("--image", nargs="+", default=[str(_SAMPLES)], help="photos or folders (default: samples)")
    add("--weights", default="default", help="as for the demo (default: default)")
    add("--repeats", type=int, default=10, help="timed calls per photo (default: 10)")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    model = inference.load(args.weights)
    faces = np.asarray(model.hand_model.faces), np.asarray(model.head_model.faces)
    print("wall / processor ms:  overlay    all pictures    write  photo")
    for path in images.find_images(args.image)[0]:
        photo = images.read_image(path)
        for person in reconstruction.reconstruct(model, photo)[:1]:
            columns = measure(person, photo, faces, args.repeats)
            print("  ".join(f"{wall:6.0f} / {cpu:.0f}" for wall, cpu in columns), "", path.name)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


def measure(
    person: Person, photo: np.ndarray, faces: tuple[np.ndarray, np.ndarray], repeats: int
) -> list[tuple[float, float]]:
    """Milliseconds of the overlay, of all pictures, and of writing these."""
    draw = functools.partial(demo_results.draw, person, photo, *faces, title="")
    drawn = draw(pictures="all")
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "x"
        return [
            milliseconds(lambda: draw(pictures="overlay"), repeats),
            milliseconds(lambda: draw(pictures="all"), repeats),
            milliseconds(lambda: demo_results.write(drawn, stem, mesh_format="none"), repeats),
        ]


def milliseconds(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Medians of the wall-clock and the processor time of a call, after one that does not count."""
    function()
    wall, processor = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        function()
        wall.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - used))
    return statistics.median(wall), statistics.median(processor)


if __name__ == "__main__":
    errors.run(main)
