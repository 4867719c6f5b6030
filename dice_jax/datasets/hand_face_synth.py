"""The open data set `hand_face_synth`: scenes written once, read by TFDS (array_record; TensorFlow
is not needed).

  from dice_jax.datasets.hand_face_synth import load_split
  source = load_split("~/data", "train", size=12000)      # builds what is not there; source[i] is a
  stored sample

Building goes in parts of a few scenes, several processes at a time. A part is a function of its
number alone and is written whole or not at all, so a build that was broken off goes on where it
stopped.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import multiprocessing
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from flax import serialization
from tqdm import tqdm

from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema

DEFAULT_SIZES = {"train": 12_000, "validation": 256, "test": 512}  # pictures
# A scene number is also its person's: what splits do not share, nobody is in twice.
_FIRST_SCENE = {"train": 0, "validation": 100_000_000, "test": 200_000_000}
# Training sees every touch from several sides; tests count people, so each is there once.
_VIEWS = {"train": 3, "validation": 1, "test": 1}
_SEED = 20_240_617
_SCENES_PER_PART = 16
_MAX_WORKERS = 8


@dataclasses.dataclass
class SynthConfig(tfds.core.BuilderConfig):
    """How many pictures each split has; a split of size 0 is left out. A smaller split is the
    beginning of a larger.
    """

    sizes: dict[str, int] = dataclasses.field(default_factory=lambda: dict(DEFAULT_SIZES))


class HandFaceSynth(tfds.core.GeneratorBasedBuilder):
    """Rendered right hands that touch heads, with meshes, contacts and deformations."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        SynthConfig(name="default", description="The sizes that the published figures are for."),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {name: _feature(field) for name, field in schema.FEATURES.items()}
        )
        return self.dataset_info_from_configs(features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        del dl_manager
        sizes = self.builder_config.sizes
        return {
            split: self._generate_examples(split, size) for split, size in sizes.items() if size > 0
        }

    def _generate_examples(self, split: str, size: int):
        # `data_dir` is the folder of this version while it is being built; parts lie beside all
        # versions.
        parts = (
            pathlib.Path(self._data_dir_root)
            / "hand_face_synth_parts"
            / f"{self.VERSION}-{split}-{_SEED}"
        )
        yield from enumerate(_built_examples(parts, split, size))
        shutil.rmtree(parts, ignore_errors=True)


def load_split(data_dir: str | os.PathLike, split: str, size: int | None = None):
    """A split of `hand_face_synth` for random access; builds it if neither it nor a larger one is
    there.

    Args:
        data_dir: folder of data sets.
        split: train, validation or test.
        size: pictures; None for the default.

    Several processes are started, so a script that calls this needs the guard `if __name__ ==
    "__main__"`.

    Returns:
        A TFDS data source: `len(source)`, `source[i]`. Its samples are for `data.schema.decode`.

    Raises:
        UserError: no such split or size.
    """
    if split not in DEFAULT_SIZES:
        raise UserError(
            f"hand_face_synth has no split {split!r}; it has {', '.join(DEFAULT_SIZES)}"
        )
    size = DEFAULT_SIZES[split] if size is None else size
    if size < 1:
        raise UserError(f"a split needs at least one sample, not {size}")
    data_dir = pathlib.Path(data_dir).expanduser()
    built = _smallest_built(data_dir, split, size) or size
    # Splits are built apart from each other, since one is often wanted without the others.
    config = SynthConfig(
        name=f"{split}_{built}", description=f"{built} pictures.", sizes={split: built}
    )
    builder = HandFaceSynth(data_dir=data_dir, config=config, file_format="array_record")
    builder.download_and_prepare()
    return builder.as_data_source(
        split=f"{split}[:{size}]", decoders={"image": tfds.decode.SkipDecoding()}
    )


def _smallest_built(data_dir: pathlib.Path, split: str, size: int) -> int | None:
    """The size of the smallest split that is there and begins with the wanted one."""
    finished = (data_dir / "hand_face_synth").glob(
        f"{split}_*/{HandFaceSynth.VERSION}/dataset_info.json"
    )
    sizes = (int(path.parts[-3].rpartition("_")[2]) for path in finished)
    return min((built for built in sizes if built >= size), default=None)


def _feature(field: schema.Field):
    if field.dtype == "jpeg":
        return tfds.features.Image(
            shape=(schema.IMAGE_SIZE, schema.IMAGE_SIZE, 3), encoding_format="jpeg"
        )
    if field.dtype == "text":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype))


def _built_examples(parts: pathlib.Path, split: str, size: int) -> Iterator[schema.Example]:
    """The first `size` samples of a split, encoded, in order; parts that are missing are made
    first.
    """
    parts.mkdir(parents=True, exist_ok=True)
    views = _VIEWS[split]
    numbers = range(math.ceil(size / (views * _SCENES_PER_PART)))
    missing = [number for number in numbers if not _part_path(parts, number).exists()]
    with tqdm(
        total=len(numbers), initial=len(numbers) - len(missing), desc=f"hand_face_synth {split}"
    ) as progress:
        for _ in _make_parts(parts, split, missing):
            progress.update()
    left = size
    for number in numbers:
        examples = serialization.msgpack_restore(_part_path(parts, number).read_bytes())
        for _, example in sorted(examples.items(), key=lambda item: int(item[0])):
            if left > 0:
                yield example
                left -= 1


def _make_parts(parts, split, numbers) -> Iterator[int]:
    """Writes parts, yielding as they are done: here, or in processes of their own where there are
    several cores.
    """
    workers = min(len(os.sched_getaffinity(0)), len(numbers), _MAX_WORKERS)
    if workers <= 1:
        for number in numbers:
            _write_part(parts, split, number)
            yield number
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_be_a_worker
    ) as pool:
        tasks = [pool.submit(_write_part, parts, split, number) for number in numbers]
        try:
            for task in concurrent.futures.as_completed(tasks):
                yield task.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _be_a_worker():
    """One thread on the CPU each: the processes share the cores, and a GPU would only be fought
    over.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"


def _write_part(parts: pathlib.Path, split: str, number: int) -> int:
    sampler = _sampler(_VIEWS[split])
    first = _FIRST_SCENE[split] + number * _SCENES_PER_PART
    examples = [
        example
        for index in range(first, first + _SCENES_PER_PART)
        for example in sampler.scene(index)
    ]
    data = serialization.msgpack_serialize(
        {str(i): schema.encode(example) for i, example in enumerate(examples)}
    )
    path = _part_path(parts, number)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_bytes(data)
    unfinished.replace(path)
    return number


_samplers = {}


def _sampler(views):
    """One sampler a process, since it is compiled. JAX must not start before `_be_a_worker` has had
    its say.
    """
    from dice_jax.synthetic.scenes import SceneSampler

    if views not in _samplers:
        _samplers[views] = SceneSampler(_SEED, views_per_scene=views)
    return _samplers[views]


def _part_path(parts, number):
    return parts / f"{number:06d}.msgpack"
