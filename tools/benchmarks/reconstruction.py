"""Times `dice_jax.reconstruct` by stage, on the package's sample photos.

  python -m tools.benchmarks.reconstruction
  python -m tools.benchmarks.reconstruction --image photo.jpg --repeats 20

Prints milliseconds a photo: the median of the detection, the mean of the network, of the fit of the
head and of all hands, and the median of the whole call. Then the time of each photo where
`reconstruct_photos` works on several at once, and how much the memory of the process grows from the
first to the second half of that run.
"""

from __future__ import annotations

import collections
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

import dice_jax
from dice_jax import errors, inference, reconstruction, xla_flags
from dice_jax.detection.people import find_people
from dice_jax.io import images

_SAMPLES = Path(dice_jax.__file__).parent / "samples"


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.reconstruction")
    add = parser.add_argument
    add("--image", nargs="+", default=[str(_SAMPLES)], help="photos or folders (default: samples)")
    add("--weights", default="default", help="as for the demo (default: default)")
    add("--repeats", type=int, default=10, help="timed calls per photo (default: 10)")
    add("--threads", type=int, help="photos at once (default: one for each core)")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    model = inference.load(args.weights)
    device = jax.devices()[0]
    print(
        f"{args.weights} weights, {device.platform} ({device.device_kind}), jax {jax.__version__}"
    )
    print("detection  network  fit head  fit hands    all  photo")
    photos, whole = [], []
    for path in images.find_images(args.image)[0]:
        photos.append(images.read_image(path))
        stages = measure(model, photos[-1], args.repeats)
        whole.append(stages[-1])
        row = "  ".join(f"{value:7.1f}" for value in stages)
        print(f"{row}  {path.name} {photos[-1].shape[1]} x {photos[-1].shape[0]}")
    milliseconds, before, after = measure_together(model, photos, args.repeats, args.threads)
    print(f"one after the other: {statistics.mean(whole):.1f} ms a photo, the mean of the medians")
    print(f"several at once: {milliseconds:.1f} ms a photo, {len(photos) * args.repeats} photos")
    print(f"memory: {before:.0f} MiB halfway, {after:.0f} MiB at the end")


def measure_together(
    model: inference.Model, photos: Sequence[np.ndarray], repeats: int, threads: int | None
) -> tuple[float, float, float]:
    """Milliseconds a photo with `reconstruct_photos`, and memory halfway and at the end, MiB."""
    run = lambda count: dice_jax.reconstruct_photos(
        model, itertools.islice(itertools.cycle(photos), count), threads=threads
    )
    collections.deque(run(len(photos)), maxlen=0)  # compiles
    count = len(photos) * repeats
    memory = []
    start = time.perf_counter()
    for number, _ in enumerate(run(count), start=1):
        if number in (count // 2, count):
            memory.append(_memory())
    return 1e3 * (time.perf_counter() - start) / count, memory[0], memory[-1]


def measure(model: inference.Model, photo: np.ndarray, repeats: int) -> list[float]:
    """Milliseconds of the stages and of the whole call.

    The stages inside the call are timed by waiting for each of them, which the whole call does not.
    """
    people = find_people(photo)
    dice_jax.reconstruct(model, photo, people=people)  # compiles
    inner = {
        "infer": (inference, []),
        "_fit_heads": (reconstruction, []),
        "_fit_hands": (reconstruction, []),
    }
    for name, (module, seconds) in inner.items():
        setattr(module, name, _timed(getattr(module, name), seconds))
    try:
        detection = _median(lambda: find_people(photo), repeats)
        for _ in range(repeats):
            dice_jax.reconstruct(model, photo, people=people)
    finally:
        for name, (module, _) in inner.items():
            setattr(module, name, getattr(module, name).__wrapped__)
    stages = [1e3 * sum(seconds) / repeats for _, seconds in inner.values()]
    whole = _median(lambda: dice_jax.reconstruct(model, photo), repeats)
    return [detection, *stages, whole]


def _timed(function: Callable, seconds: list[float]) -> Callable:
    def timed(*args, **options):
        start = time.perf_counter()
        result = jax.block_until_ready(function(*args, **options))
        seconds.append(time.perf_counter() - start)
        return result

    timed.__wrapped__ = function  # pyright: ignore[reportFunctionMemberAccess]
    return timed


def _median(function: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def _memory() -> float:
    """Resident memory of the process now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    errors.run(main)
