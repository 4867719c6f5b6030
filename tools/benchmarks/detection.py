"""Times the stages of detection on photos of one megapixel: networks, `find_people`, following.

  python -m tools.benchmarks.detection
  taskset -c 0 python -m tools.benchmarks.detection         # one CPU core

Prints milliseconds (median over `--repeats` calls) and, for `find_people`, the calls of each
network. The photos are the package's samples, enlarged to 1000 x 1000 pixels, and noise.
"""

from __future__ import annotations

import collections
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import dice_jax
from dice_jax import errors
from dice_jax.detection import runtime
from dice_jax.detection.people import find_people
from dice_jax.io import images

_SAMPLES = Path(dice_jax.__file__).parent / "samples"
_SPECS = (
    runtime.FACE_DETECTION,
    runtime.PALM_DETECTION,
    runtime.FACE_MESH,
    runtime.HAND_LANDMARKS,
)
_SIDE = 1000  # pixels


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.detection")
    add = parser.add_argument
    add("--repeats", type=int, default=15, help="timed calls per row (default: 15)")
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    rng = np.random.default_rng(0)
    runtimes = ["litert", "opencv"] if runtime.has_litert() else ["opencv"]

    print(f"{os.cpu_count()} CPU cores, median of {args.repeats} calls, milliseconds")
    print(f"{'one call of a network':<32}" + "".join(f"{name:>9}" for name in runtimes))
    for spec in _SPECS:
        pixels = rng.integers(0, 256, (spec.size, spec.size, 3), np.uint8)
        networks = [runtime.Network(spec, name) for name in runtimes]
        times = [median_ms(network, pixels, repeats=args.repeats) for network in networks]
        print(f"{spec.file:<32}" + "".join(f"{ms:9.1f}" for ms in times))

    print(f"\n{'find_people (' + runtimes[0] + ')':<32}{'time':>9}  calls of networks")
    photos = {path.stem: _enlarged(path) for path in sorted(_SAMPLES.glob("*.jpg"))}
    photos["noise"] = rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    for name, photo in photos.items():
        people = find_people(photo)
        hands = sum(len(person.hands) for person in people)
        label = f"{name}, {hands} hand" + ("" if hands == 1 else "s")
        ms = median_ms(find_people, photo, repeats=args.repeats)
        print(f"{label:<32}{ms:9.1f}  {count_calls(find_people, photo)}")
        if people:
            ms = median_ms(find_people, photo, people, repeats=args.repeats)
            print(f"{'  followed':<32}{ms:9.1f}  {count_calls(find_people, photo, people)}")


def median_ms(function: Callable[..., Any], *inputs: Any, repeats: int) -> float:
    """The median duration of a call in milliseconds, after one call that is not counted."""
    function(*inputs)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*inputs)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def count_calls(function: Callable[..., Any], *inputs: Any) -> str:
    """How often a call of `function` runs each network."""
    counts: collections.Counter[str] = collections.Counter()
    network = runtime.network

    def counted(spec: runtime.Spec) -> Callable[..., Any]:
        counts[spec.file.removesuffix(".tflite")] += 1
        return network(spec)

    runtime.network = counted
    try:
        function(*inputs)
    finally:
        runtime.network = network
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _enlarged(path: Path) -> np.ndarray:
    return cv2.resize(images.read_image(path), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    errors.run(main)
