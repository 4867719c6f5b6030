"""Data sets that are prepared from the files of others: first in parts, then as one TFDS data set.

A part is one file with a few hundred encoded samples. It is written whole or not at all. An
interrupted preparation therefore continues with the missing parts; the data set (array_record) is
written from the finished parts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from flax import serialization

from dice_jax import user_folders
from dice_jax.constants import CROP_SIZE
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import Subset
from dice_jax.io import atomic

_ENCODED = ("image", "foreground")  # fields that the loader decodes


class PreparedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set whose samples are stored in parts; each subclass lists its fields."""

    VERSION = tfds.core.Version("1.0.0")
    FIELDS: tuple[str, ...] = ()

    def _info(self) -> tfds.core.DatasetInfo:
        fields = schema.FEATURES | schema.EXTRAS
        return self.dataset_info_from_configs(
            features=tfds_features({name: fields[name] for name in self.FIELDS}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        folder = parts_folder(self._data_dir_root, self.name)
        return {split.name: self._generate_examples(split) for split in _splits_of(folder)}

    def _generate_examples(self, folder: pathlib.Path):
        yield from enumerate(_examples_of(folder))


def _splits_of(parts: pathlib.Path) -> list[pathlib.Path]:
    """The folders of the splits that have a sample: TFDS cannot write an empty one."""
    splits = sorted({path.parent for path in parts.glob("*/*.msgpack")})
    return [split for split in splits if next(_examples_of(split), None) is not None]


def _examples_of(split: pathlib.Path) -> Iterator[schema.Example]:
    """Yields the encoded samples of all parts of a split, in order."""
    # Hidden files are unfinished parts of a run that was killed.
    for path in sorted(split.glob("[!.]*.msgpack")):
        yield from read_part(path)


def tfds_features(fields: Mapping[str, schema.Field]) -> tfds.features.FeaturesDict:
    """The TFDS features of the fields of a sample."""
    return tfds.features.FeaturesDict({name: _feature(field) for name, field in fields.items()})


def parts_folder(data_dir: str | os.PathLike, name: str) -> pathlib.Path:
    """The folder of the parts of data set `name`; each split has a subfolder."""
    return pathlib.Path(data_dir) / f"{name}_parts"


def write_part(
    path: pathlib.Path, examples: Sequence[Mapping], left_out: Mapping[str, Sequence] | None = None
) -> None:
    """Writes one part, whole or not at all, and beside it a JSON file of what was left out.

    Args:
        path: of the part.
        examples: decoded samples.
        left_out: names or frame numbers of the samples that were left out, by reason.

    Raises:
        UserError: the disk is full.
    """
    data = serialization.msgpack_serialize(
        {str(i): schema.encode(example) for i, example in enumerate(examples)}
    )
    with enough_space_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path.with_suffix(".json"), json.dumps(left_out or {}))
        atomic.write_bytes(path, data)


@contextlib.contextmanager
def enough_space_for(path: pathlib.Path) -> Iterator[None]:
    """Reports a full disk while the block writes the file at `path`.

    Raises:
        UserError: the disk is full; the message says what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"no space left for {path}: free some and run the same command again; "
            "finished parts are kept"
        ) from None


def read_part(path: pathlib.Path) -> Iterator[schema.Example]:
    """Yields the encoded samples of a part, in order."""
    examples: Any = serialization.msgpack_restore(path.read_bytes())
    yield from (examples[str(i)] for i in range(len(examples)))


def read_left_out(path: pathlib.Path) -> dict[str, list]:
    """Reads what was left out of the part at `path`, by reason."""
    notes = path.with_suffix(".json")
    return json.loads(notes.read_text()) if notes.exists() else {}


def check_settings(folder: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Makes sure that all parts in `folder` are made with the same settings.

    The first call stores the settings; later calls compare with them.

    Raises:
        UserError: the settings differ; the message names them.
    """
    path = folder / "settings.json"
    if not path.exists():
        with enough_space_for(path):
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(path, json.dumps(settings))
    before = json.loads(path.read_text())
    changes = ", ".join(
        f"{name} was {before.get(name)} and is {settings.get(name)}"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    )
    if changes:
        raise UserError(
            f"{folder} contains parts made with other settings ({changes}): "
            "delete it, or use the same settings again"
        )


def build(
    builder_class: type[PreparedBuilder], data_dir: str | os.PathLike, *, keep_parts: bool
) -> dict[str, int]:
    """Writes the data set from its parts and replaces an older one.

    Args:
        builder_class: the data set.
        data_dir: the folder of data sets.
        keep_parts: keep the parts, so that a later run can add to them.

    Returns:
        The number of samples of each split.

    Raises:
        UserError: there are no samples.
    """
    parts = parts_folder(data_dir, builder_class.name)
    if not _splits_of(parts):
        raise UserError(
            f"no sample of {builder_class.name} could be prepared; see what was left out"
        )
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    shutil.rmtree(builder.data_path, ignore_errors=True)
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    build_with(builder)
    if not keep_parts:
        shutil.rmtree(parts)
    return {name: split.num_examples for name, split in builder.info.splits.items()}


def build_with(builder: tfds.core.DatasetBuilder) -> None:
    """Builds a data set and removes what earlier builds of it left behind that were killed.

    A build that another process is at is left alone: its files change meanwhile. Nothing is done
    if the data set exists.
    """
    if builder.is_prepared():
        return
    start = time.time()
    builder.download_and_prepare()
    for folder in pathlib.Path(builder.data_path).parent.glob("incomplete.*"):
        if _last_change(folder) < start:
            shutil.rmtree(folder, ignore_errors=True)
    parts = parts_folder(builder.data_dir_root, builder.name)
    for file in parts.rglob(".*"):  # of `atomic`
        if file.is_file() and _last_change(file) < start:
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        parts.rmdir()


def _last_change(path: pathlib.Path) -> float:
    """The time of the last change of anything in a folder, or of a file; infinite if it is gone."""
    times = []
    for entry in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # removed meanwhile
            times.append(entry.stat().st_mtime)
    return max(times, default=math.inf)


def is_built(builder_class: type[PreparedBuilder], data_dir: str | os.PathLike) -> bool:
    """Whether the data set exists and is complete."""
    folder = user_folders.expand(data_dir) / builder_class.name
    return (folder / str(builder_class.VERSION) / "dataset_info.json").is_file()


def open_split(
    builder_class: type[PreparedBuilder],
    data_dir: str | os.PathLike,
    split: str,
    command: str,
    size: int | None = None,
) -> Source:
    """Opens a split for random access.

    Args:
        builder_class: the data set.
        data_dir: the folder of data sets.
        split: its name.
        command: the command that prepares the data set, for the error message.
        size: number of samples, the first of the split; None or 0: all of them.

    Returns:
        Stored samples, for `schema.decode`.

    Raises:
        UserError: the data set does not exist or has no such split.
    """
    name = builder_class.name
    if not is_built(builder_class, data_dir):
        raise UserError(f"{name} is not in {data_dir}: prepare it with {command}")
    builder = builder_class(data_dir=user_folders.expand(data_dir), file_format="array_record")
    if split not in builder.info.splits:
        raise UserError(
            f"{name} in {data_dir} has no split {split!r}, "
            f"only {', '.join(builder.info.splits)}: {command}"
        )
    source = data_source(builder, split)
    return Subset(source, np.arange(min(size, len(source)))) if size else source


def open_train_split(
    builder_class: type[PreparedBuilder],
    data_dir: str | os.PathLike,
    split: str,
    command: str,
    size: int | None = None,
    *,
    reason: str,
) -> Source:
    """Opens the split "train" of a data set that has no other one.

    Args:
        builder_class, data_dir, split, command, size: as for `open_split`.
        reason: why there is nothing to test with, for the error message.

    Returns:
        Stored samples, for `schema.decode`.

    Raises:
        UserError: another split, or the data set does not exist.
    """
    if split != "train":
        raise UserError(f"{builder_class.name} has no split {split!r}, only train: {reason}")
    return open_split(builder_class, data_dir, split, command, size)


def data_source(builder: tfds.core.DatasetBuilder, split: str) -> Source:
    """A TFDS data source of `split` that leaves JPEG and PNG bytes for `schema.decode`."""
    fields = builder.info.features
    assert isinstance(fields, tfds.features.FeaturesDict)
    skipped = {name: tfds.decode.SkipDecoding() for name in _ENCODED if name in fields}
    # TFDS decorates the method, which hides its parameters from pyright.
    return builder.as_data_source(split=split, decoders=skipped)  # pyright: ignore[reportCallIssue]


def _feature(field: schema.Field) -> tfds.features.FeatureConnector:
    if field.dtype == "jpeg":
        return tfds.features.Image(shape=(CROP_SIZE, CROP_SIZE, 3), encoding_format="jpeg")
    if field.dtype == "png":
        return tfds.features.Image(shape=(CROP_SIZE, CROP_SIZE, 1), encoding_format="png")
    if field.dtype == "text":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype))
