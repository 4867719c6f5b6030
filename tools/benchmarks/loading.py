"""How fast batches come off the disk, decoded and varied, and how much memory that takes.

  python -m tools.benchmarks.loading --samples 2000 --batches 60 --threads 2
  python -m tools.benchmarks.loading --data decaf:11+in_the_wild:1 --data_dir ~/data

Without --data a data set of Decaf's fields is written first, with random pictures of natural
compressibility, and thrown away after. Memory is the process's resident set: what it grew by after
the first batches.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from ml_collections import ConfigDict

from dice_jax.body_models import load_hand, load_head
from dice_jax.datasets import prepared_records, registry
from dice_jax.datasets.augmentation import augmentation
from dice_jax.datasets.decaf import dataset
from dice_jax.input_pipeline import loader, schema
from dice_jax.tools import command_line

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


def main(argv: list[str] | None = None) -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--data", help="data sets by name (default: one made for the purpose)")
    parser.add_argument("--data_dir", help="where they lie")
    parser.add_argument(
        "--samples", type=int, default=2000, help="size of the one made for the purpose"
    )
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backgrounds", help="folder of pictures to put behind people")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        if args.data:
            source = registry.open_split(args.data, "train", args.data_dir)
        else:
            begin = time.perf_counter()
            source = _made(Path(folder), args.samples)
            print(f"wrote {args.samples} samples in {time.perf_counter() - begin:.1f} s")
        changes = ConfigDict(
            _AUGMENTATION | {"background_folder": args.backgrounds or _pictures(Path(folder))}
        )
        transform = augmentation(changes, load_hand(), load_head())
        batches = loader.Loader(
            source, args.batch_size, seed=0, transform=transform, num_threads=args.threads
        )
        stream = batches.batches(0, args.batches + 4)
        for _ in range(4):  # caches and threads come to rest
            next(stream)
        memory, begin, begin_cpu = _resident(), time.perf_counter(), time.process_time()
        for _ in stream:
            pass
        wall, cpu, images = (
            time.perf_counter() - begin,
            time.process_time() - begin_cpu,
            args.batches * args.batch_size,
        )
        print(
            f"{len(source)} samples, {args.threads} threads on {len(os.sched_getaffinity(0))} cores"
        )
        print(
            f"{images / wall:.0f} images/s; {1000 * cpu / images:.2f} ms of processor time an image"
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"resident {_resident():.0f} MB, {_resident() - memory:+.0f} MB while reading, {peak:.0f} MB at most"
        )


def _resident() -> float:
    """MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _made(folder: Path, count: int):
    """A data set with all of Decaf's fields; pictures are blurred noise, which compresses as
    photographs do.
    """
    rng = np.random.default_rng(0)
    fields = schema.FEATURES | schema.EXTRAS
    random = {
        name: fields[name] for name in dataset.Decaf.FIELDS if fields[name].dtype == "float32"
    }
    mask = cv2.circle(np.zeros((224, 224), np.uint8), (112, 112), 80, 1, -1) > 0
    examples = []
    for index in range(count):
        noise = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        deformations = np.zeros((5023, 3), np.float32)
        deformations[rng.choice(5023, 400, replace=False)] = 0.003
        examples.append(
            dict(
                {
                    name: rng.normal(size=field.shape).astype(np.float32)
                    for name, field in random.items()
                },
                image=np.clip(
                    4.0 * (cv2.GaussianBlur(noise, (0, 0), 2).astype(float) - 127) + 127, 0, 255
                ).astype(np.uint8),
                foreground=mask,
                deformations=deformations,
                hand_contact=rng.random(778) < 0.1,
                head_contact=rng.random(5023) < 0.02,
                subject=1,
                scene=index,
                view=108,
                frame=index,
                sequence=0,
            )
        )
        if len(examples) == 256 or index == count - 1:
            prepared_records.write_part(
                prepared_records.parts_folder(folder, "decaf") / "train" / f"{index:08d}.msgpack",
                examples,
            )
            examples = []
    prepared_records.build(dataset.Decaf, folder, keep_parts=False)
    return dataset.load_split(folder, "train")


def _pictures(folder: Path) -> str:
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(1)
    for number in range(20):
        picture = cv2.resize(
            rng.integers(0, 256, (20, 30, 3), dtype=np.uint8),
            (900, 600),
            interpolation=cv2.INTER_CUBIC,
        )
        cv2.imwrite(str(folder / "pictures" / f"{number}.jpg"), picture)
    return str(folder / "pictures")


if __name__ == "__main__":
    command_line.run(main)
