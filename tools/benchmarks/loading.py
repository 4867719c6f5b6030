"""Measures how fast batches are read from disk, decoded and augmented, and the memory this takes.

  python -m tools.benchmarks.loading --samples 2000 --batches 60 --threads 2
  python -m tools.benchmarks.loading --data decaf:11+in_the_wild:1 --data_dir ~/data

Without --data it writes a temporary data set with Decaf's fields. Its images are random and as
compressible as photos. Memory is the resident set of the process; its growth is counted from the
first batches on.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from ml_collections import ConfigDict

from dice_jax import errors
from dice_jax.body_models import load_hand, load_head
from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.datasets import prepared_records, registry
from dice_jax.datasets.augmentation import augmentation
from dice_jax.datasets.decaf import dataset
from dice_jax.input_pipeline import loader, schema

_AUGMENTATION = dict(
    rotation=0.35,
    scale=0.12,
    shift=12.0,
    color=0.25,
    blur=0.2,
    noise=8.0,
    photometric=0.8,
    background=0.5,
)
_WARM_UP = 4  # batches, until caches are filled and all threads run
_PART = 256  # samples per file


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.loading")
    add = parser.add_argument
    add("--data", help="data sets by name (default: a temporary one)")
    add("--data_dir", help="folder of the data sets (default: $DICE_DATA or ~/.cache/dice_jax)")
    add("--samples", type=int, default=2000, help="size of the temporary data set (default: 2000)")
    add("--batch_size", type=int, default=16, help="default: 16")
    add("--batches", type=int, default=60, help="batches to read (default: 60)")
    add("--threads", type=int, default=2, help="default: 2")
    add("--backgrounds", help="folder of images to put behind people (default: random ones)")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.data:
            source = registry.open_split(args.data, "train", args.data_dir)
        else:
            start = time.perf_counter()
            source = write_data_set(folder, args.samples)
            print(f"wrote {args.samples} samples in {time.perf_counter() - start:.1f} s")
        backgrounds = args.backgrounds or write_backgrounds(folder / "backgrounds")
        changes = ConfigDict(_AUGMENTATION | {"background_folder": backgrounds})
        transform = augmentation(changes, load_hand(), load_head())
        batches = loader.Loader(
            source, args.batch_size, seed=0, transform=transform, num_threads=args.threads
        )
        stream = batches.batches(0, args.batches + _WARM_UP)
        for _ in range(_WARM_UP):
            next(stream)
        memory, start, start_cpu = resident_mb(), time.perf_counter(), time.process_time()
        for _ in stream:
            pass
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu

        images, cores = args.batches * args.batch_size, len(os.sched_getaffinity(0))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(f"{len(source)} samples, {args.threads} threads on {cores} cores")
        print(f"{images / wall:.0f} images/s; {1000 * cpu / images:.2f} ms of processor time each")
        print(
            f"resident {resident_mb():.0f} MB, {resident_mb() - memory:+.0f} MB while reading, "
            f"{peak:.0f} MB at most"
        )


def resident_mb() -> float:
    """The resident set of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def write_data_set(folder: Path, count: int) -> loader.Source:
    """Writes and opens a data set with Decaf's fields.

    Images are blurred noise, which compresses like photos.
    """
    rng = np.random.default_rng(0)
    fields = schema.FEATURES | schema.EXTRAS
    random = {
        name: fields[name] for name in dataset.Decaf.FIELDS if fields[name].dtype == "float32"
    }
    square, center = (CROP_SIZE, CROP_SIZE), (CROP_SIZE // 2, CROP_SIZE // 2)
    mask = cv2.circle(np.zeros(square, np.uint8), center, 80, 1, -1) > 0
    parts = prepared_records.parts_folder(folder, "decaf") / "train"
    examples = []
    for index in range(count):
        noise = rng.integers(0, 256, (*square, 3), dtype=np.uint8)
        blurred = 4.0 * (cv2.GaussianBlur(noise, (0, 0), 2).astype(float) - 127) + 127
        deformations = np.zeros((NUM_HEAD_VERTICES, 3), np.float32)
        deformations[rng.choice(NUM_HEAD_VERTICES, 400, replace=False)] = 0.003
        example = {
            name: rng.normal(size=field.shape).astype(np.float32) for name, field in random.items()
        }
        example |= dict(
            image=np.clip(blurred, 0, 255).astype(np.uint8),
            foreground=mask,
            deformations=deformations,
            hand_contact=rng.random(NUM_HAND_VERTICES) < 0.1,
            head_contact=rng.random(NUM_HEAD_VERTICES) < 0.02,
            subject=1,
            scene=index,
            view=108,
            frame=index,
            sequence=0,
        )
        examples.append(example)
        if len(examples) == _PART or index == count - 1:
            prepared_records.write_part(parts / f"{index:08d}.msgpack", examples)
            examples = []
    prepared_records.build(dataset.Decaf, folder, keep_parts=False)
    return dataset.load_split(folder, "train")


def write_backgrounds(folder: Path) -> str:
    """Writes 20 smooth random images of 900 x 600 pixels; returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(20):
        noise = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        image = cv2.resize(noise, (900, 600), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    return str(folder)


if __name__ == "__main__":
    errors.run(main)
