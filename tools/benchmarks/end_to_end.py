"""Times the demo from JPEG to files, by stage, and from video to video, with the memory it takes.

  python -m tools.benchmarks.end_to_end
  python -m tools.benchmarks.end_to_end --image photo.jpg --repeats 20 --frames 18000

Photos: medians in milliseconds of each stage of the demo, and photos a second, without pictures and
with all of them. Every photo is done once before, which compiles. The stages of network and fit are
waited for, which the demo does not; what is left of a photo is contact, tables and printing.

Video: a film of 1280 x 720 pixels, made of the first photo that shows somebody, which moves slowly;
frames a second of the whole way from the file to the file after the first frames, and the memory of
the process at each quarter of the film. Detection, network and fit work on one person at a time.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import jax
import numpy as np

import dice_jax
from dice_jax import demo, errors, inference, reconstruction, video_results, xla_flags
from dice_jax.io import images, video_writer
from dice_jax.visualization import demo_results

_SAMPLES = Path(dice_jax.__file__).parent / "samples"
_STAGES: dict[str, Sequence[tuple[object, str]]] = {
    "decode": ((images, "read_image"),),
    "detect": ((reconstruction, "find_people"),),
    "network": ((inference, "infer"),),
    "fit": ((reconstruction, "_fit_heads"), (reconstruction, "_fit_hands")),
    "draw": ((demo_results, "draw"),),
    "write": ((demo_results, "write"),),
    "all": ((demo, "run_photo"),),
}
_SIZE, _FPS = (1280, 720), 30.0
_SWAY = 40.0  # pixels that the film moves to each side
_WARM_UP = 10  # frames that are not timed


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.end_to_end")
    add = parser.add_argument
    add("--image", nargs="+", default=[str(_SAMPLES)], help="JPEGs or folders (default: samples)")
    add("--weights", default="default", help="as for the demo (default: default)")
    add("--repeats", type=int, default=5, help="timed runs of each photo (default: 5)")
    add("--frames", type=int, default=120, help="length of the film; 0: none (default: 120)")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    model = inference.load(args.weights)
    device = jax.devices()[0]
    print(
        f"{args.weights} weights, {device.platform} ({device.device_kind}), jax {jax.__version__}, "
        f"batch 1, {model.module.config.dtype}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )
    paths = images.find_images(args.image)[0]
    print(f"{len(paths)} photos x {args.repeats}; median milliseconds a photo")
    print("pictures  " + "".join(f"{name:>9}" for name in _STAGES) + "  photos/s")
    for pictures in ("none", "overlay", "all"):
        seconds = photo_stages(paths, args.weights, pictures, args.repeats)
        row = "".join(f"{1e3 * statistics.median(seconds[name]):9.0f}" for name in _STAGES)
        rate = len(seconds["all"]) / sum(seconds["all"])
        print(f"{pictures:<10}{row}  {rate:8.2f}")
    if args.frames:
        print_video(model, paths, args.frames)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB, load {os.getloadavg()[0]:.1f} at the end")


def photo_stages(
    paths: Sequence[Path], weights: str, pictures: str, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each stage for every photo of the demo but the first run of each."""
    with tempfile.TemporaryDirectory() as folder, timed_stages() as rows:
        source = Path(folder) / "in"
        source.mkdir()
        for number in range(repeats + 1):
            for path in paths:
                shutil.copy(path, source / f"{number:04d}_{path.name}")
        command = ["--image", str(source), "--out", f"{folder}/out", "--weights", weights]
        with contextlib.redirect_stdout(io.StringIO()):
            code = demo.main([*command, "--pictures", pictures])
    if code:
        raise errors.UserError("some photos cannot be used, see above")
    timed = rows[len(paths) :]
    return {name: [row[name] for row in timed] for name in _STAGES}


@contextlib.contextmanager
def timed_stages() -> Iterator[list[dict[str, float]]]:
    """Times the functions of the stages; a row for each photo, with the sums of their calls."""
    rows: list[dict[str, float]] = []
    current: dict[str, float] = collections.defaultdict(float)

    def timed(name: str, function: Callable) -> Callable:
        def call(*arguments, **options):
            start = time.perf_counter()
            result = function(*arguments, **options)
            if name in ("network", "fit"):
                jax.block_until_ready(result)
            current[name] += time.perf_counter() - start
            if name == "all":
                rows.append({stage: current[stage] for stage in _STAGES})
                current.clear()
            return result

        return call

    with contextlib.ExitStack() as stack:
        for name, functions in _STAGES.items():
            for module, attribute in functions:
                original = getattr(module, attribute)
                setattr(module, attribute, timed(name, original))
                stack.callback(setattr, module, attribute, original)
        yield rows


def print_video(model: inference.Model, paths: Sequence[Path], frames: int) -> None:
    """Times a film, and prints the memory at its quarters."""
    photos = (images.read_image(path) for path in paths)
    photo = next((x for x in photos if dice_jax.reconstruct(model, x)), None)
    if photo is None:
        raise errors.UserError("nobody is found in the photos, so there is no film to time")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_film(photo, clip, frames)
        times, memory = [], []

        def progress(count: int) -> None:
            if count:
                times.append(time.perf_counter())
                memory.append(resident_mebibytes())

        start = time.perf_counter()
        files = video_results.process(model, clip, Path(folder) / "out", progress=progress)
        end = time.perf_counter()
    first = min(_WARM_UP, len(times) - 2)
    rate = (len(times) - 1 - first) / (times[-1] - times[first])
    gaps = np.diff(times[first:])
    print(
        f"video {_SIZE[0]} x {_SIZE[1]}, {files.frames} frames, {files.people} followed: "
        f"{rate:.2f} frames/s, median {1e3 * statistics.median(gaps):.0f} ms a frame; "
        f"{end - start:.1f} s in all, {end - times[-1]:.1f} s of them to join the parts"
    )
    marks = [memory[min(len(memory) - 1, k * len(memory) // 4)] for k in range(1, 5)]
    print("memory at the quarters: " + ", ".join(f"{mark:.0f}" for mark in marks) + " MiB")


def make_film(photo: np.ndarray, path: Path, frames: int) -> None:
    """The photo, as large as the film is high, swaying from side to side."""
    width, height = _SIZE
    zoom = height / photo.shape[0]
    writer = video_writer.VideoWriter(path, _SIZE, _FPS)
    for number in range(frames):
        shift = _SWAY * np.sin(2 * np.pi * number / (4 * _FPS))
        left = (width - zoom * photo.shape[1]) / 2 + shift
        matrix = np.array([[zoom, 0.0, left], [0.0, zoom, 0.0]])
        frame = cv2.warpAffine(photo, matrix, _SIZE, borderMode=cv2.BORDER_REPLICATE)
        writer.write(np.ascontiguousarray(frame), number / _FPS)
    writer.close()


def resident_mebibytes() -> float:
    """Memory of the process now, where the system says it; else the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    errors.run(main)
