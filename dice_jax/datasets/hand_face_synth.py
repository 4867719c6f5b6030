"""The open data set `hand_face_synth`: rendered once, then read by TFDS (array_record).

from dice_jax.datasets.hand_face_synth import load_split
source = load_split("~/data", "train", size=12000)      # builds the split if it is missing

The data set is built in parts of a few scenes, by several processes. A part depends on its number
alone and is written whole or not at all, so an interrupted build continues where it stopped.
`python -m dice_jax.tools.build_data` builds ahead of time, on a cluster too. TensorFlow is not
needed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import tensorflow_datasets as tfds
from tqdm import tqdm

from dice_jax import user_folders
from dice_jax.datasets import part_engines, prepared_records
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.input_pipeline.loader import Source

DEFAULT_SIZES = {"train": 12_000, "validation": 256, "test": 512}  # images
EXTRAS = (  # fields of every sample beside `schema.FEATURES`
    "kind",
    "hand_present",
    "hand_visibility",
    "head_visibility",
    "other_hand_keypoints_2d",
    "focal_length",
    "camera_center",
    "attempts",
    "detected_hand_points",
    "detected_hand_world",
    "detected_face_points",
)
# The number of a scene is also that of its person: splits share nobody.
FIRST_SCENE = {"train": 0, "validation": 100_000_000, "test": 200_000_000}
# Training shows every touch from several sides; the test statistics are over people.
_VIEWS = {"train": 3, "validation": 1, "test": 1}
_SEED = 20_240_617


@runtime_checkable
class SceneSource(Protocol):
    """Makes the samples of a scene, as `detected_scenes.DetectedScenes` does."""

    def scene(self, index: int) -> list[schema.Example]: ...


@functools.cache
def scene_source(views: int) -> SceneSource:
    """The renderer of this process, with `views` images of each scene and what detectors say."""
    # Imported late: a worker process configures JAX first, see `part_engines`.
    from dice_jax.datasets.detected_scenes import DetectedScenes
    from dice_jax.synthetic.scene_sampler import SceneSampler

    return DetectedScenes(SceneSampler(_SEED, views_per_scene=views))


@dataclasses.dataclass(frozen=True)
class Production:
    """How a split is built.

    Attributes:
        make_source: from the number of views to the source of scenes of a process.
        scenes_per_part: number of scenes in a part.
        engine: where parts are made.
    """

    make_source: Callable[[int], SceneSource] = scene_source
    scenes_per_part: int = 16
    engine: part_engines.Engine = part_engines.on_this_machine


@dataclasses.dataclass
class SynthConfig(tfds.core.BuilderConfig):
    """The number of images of each split; size 0 leaves a split out.

    A smaller split is the beginning of a larger one.
    """

    sizes: dict[str, int] = dataclasses.field(default_factory=lambda: dict(DEFAULT_SIZES))
    production: Production = Production()


class HandFaceSynth(tfds.core.GeneratorBasedBuilder):
    """Rendered hands at heads, with meshes, contacts and deformations of the right hand.

    Version 1 had a right hand in every picture, and the open hand before its joints were mended.
    """

    VERSION = tfds.core.Version("2.1.0")
    BUILDER_CONFIGS = (
        SynthConfig(name="default", description="The sizes of the published results."),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        extras = {name: schema.EXTRAS[name] for name in EXTRAS}
        features = prepared_records.tfds_features(schema.FEATURES | extras)
        return self.dataset_info_from_configs(features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        del dl_manager
        config = self.builder_config
        assert isinstance(config, SynthConfig)
        return {
            split: self._generate_examples(split, size, config.production)
            for split, size in config.sizes.items()
            if size > 0
        }

    def _generate_examples(self, split: str, size: int, production: Production):
        # `data_dir` is a temporary folder during the build; parts must survive an interruption.
        folder = prepared_records.parts_folder(self._data_dir_root, self.name)
        parts = folder / f"{self.VERSION}-{split}-{_SEED}"
        yield from enumerate(_build_examples(parts, split, size, production))
        shutil.rmtree(parts, ignore_errors=True)


def load_split(
    data_dir: str | os.PathLike,
    split: str,
    size: int | None = None,
    production: Production | None = None,
) -> Source:
    """Opens a split for random access; builds it if neither it nor a larger one exists.

    Building starts several processes, so a script that calls this function needs the guard
    `if __name__ == "__main__"`.

    Args:
        data_dir: the folder of data sets.
        split: train, validation or test.
        size: number of images; None: the default.
        production: how to build the split; None: the default.

    Returns:
        A TFDS data source of stored samples, for `schema.decode`.

    Raises:
        UserError: an unknown split, or a size below 1.
    """
    if split not in DEFAULT_SIZES:
        raise UserError(
            f"hand_face_synth has no split {split!r}; it has {', '.join(DEFAULT_SIZES)}"
        )
    size = DEFAULT_SIZES[split] if size is None else size
    if size < 1:
        raise UserError(f"a split needs at least one sample, not {size}")
    data_dir = user_folders.expand(data_dir)
    built = _smallest_built(data_dir, split, size) or size
    # One TFDS configuration per split and size: often only one split is needed.
    config = SynthConfig(
        name=f"{split}_{built}",
        description=f"{built} images.",
        sizes={split: built},
        production=production or Production(),
    )
    builder = HandFaceSynth(data_dir=data_dir, config=config, file_format="array_record")
    prepared_records.build_with(builder)
    return prepared_records.data_source(builder, f"{split}[:{size}]")


def _smallest_built(data_dir: pathlib.Path, split: str, size: int) -> int | None:
    """The size of the smallest finished split with at least `size` images."""
    finished = (data_dir / HandFaceSynth.name).glob(
        f"{split}_*/{HandFaceSynth.VERSION}/dataset_info.json"
    )
    sizes = (int(path.parts[-3].rpartition("_")[2]) for path in finished)
    return min((built for built in sizes if built >= size), default=None)


def _build_examples(
    parts: pathlib.Path, split: str, size: int, production: Production
) -> Iterator[schema.Example]:
    """Yields the first `size` encoded samples of a split; makes missing parts first."""
    parts.mkdir(parents=True, exist_ok=True)
    numbers = range(math.ceil(size / (_VIEWS[split] * production.scenes_per_part)))
    missing = [number for number in numbers if not _part_path(parts, number).exists()]
    with tqdm(
        total=len(numbers), initial=len(numbers) - len(missing), desc=f"hand_face_synth {split}"
    ) as progress:
        # Not `production` itself: an engine cannot be sent to its own workers.
        write = functools.partial(
            _write_part, parts, split, production.make_source, production.scenes_per_part
        )
        for _ in production.engine(write, missing):
            progress.update()
    left = size
    for number in numbers:
        for example in prepared_records.read_part(_part_path(parts, number)):
            if left > 0:
                yield example
                left -= 1


def _write_part(
    parts: pathlib.Path,
    split: str,
    make_source: Callable[[int], SceneSource],
    scenes: int,
    number: int,
) -> int:
    source = make_source(_VIEWS[split])
    first = FIRST_SCENE[split] + number * scenes
    examples = [
        example for index in range(first, first + scenes) for example in source.scene(index)
    ]
    prepared_records.write_part(_part_path(parts, number), examples)
    return number


def _part_path(parts: pathlib.Path, number: int) -> pathlib.Path:
    return parts / f"{number:06d}.msgpack"
