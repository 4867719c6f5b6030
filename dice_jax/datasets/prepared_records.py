"""Data sets prepared from files of others: parts while they are made, a TFDS data set
(array_record) in the end.

A part is a few hundred encoded samples in one file, written whole or not at all. Preparation that
was broken off goes on with the parts that are missing; the data set itself is written from the
parts.
"""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from flax import serialization

from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema
from dice_jax.io import atomic

_ENCODED = ("image", "foreground")


class PreparedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set whose samples lie in parts; a subclass names its fields."""

    VERSION = tfds.core.Version("1.0.0")
    FIELDS: tuple[str, ...] = ()

    def _info(self) -> tfds.core.DatasetInfo:
        fields = schema.FEATURES | schema.EXTRAS
        features = tfds.features.FeaturesDict(
            {name: _feature(fields[name]) for name in self.FIELDS}
        )
        return self.dataset_info_from_configs(features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        del dl_manager
        folder = parts_folder(self._data_dir_root, self.name)
        splits = sorted({path.parent for path in folder.glob("*/*.msgpack")})
        return {split.name: self._generate_examples(split) for split in splits}

    def _generate_examples(self, folder: pathlib.Path):
        yield from enumerate(
            example for path in sorted(folder.glob("*.msgpack")) for example in read_part(path)
        )


def parts_folder(data_dir: str | os.PathLike, name: str) -> pathlib.Path:
    """Where the parts of a data set lie, one folder for each split."""
    return pathlib.Path(data_dir) / f"{name}_parts"


def write_part(
    path: pathlib.Path, examples: Sequence[Mapping], left_out: Mapping[str, Sequence] | None = None
) -> None:
    """Writes samples, whole or not at all, and beside them what was left out, by reason.

    Raises:
        UserError: the disk is full.
    """
    data = serialization.msgpack_serialize(
        {str(i): schema.encode(example) for i, example in enumerate(examples)}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_path(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(left_out or {}))
        with atomic.atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"no space left for {path}: make room and run this again; finished parts stay"
        ) from None


def read_part(path: pathlib.Path) -> Iterator[schema.Example]:
    """The encoded samples of a part, in order."""
    examples = serialization.msgpack_restore(path.read_bytes())
    yield from (examples[str(i)] for i in range(len(examples)))


def left_out(path: pathlib.Path) -> dict[str, list]:
    """What was left out of a part, by reason."""
    notes = path.with_suffix(".json")
    return json.loads(notes.read_text()) if notes.exists() else {}


def same_settings(folder: pathlib.Path, settings: Mapping) -> None:
    """Refuses to mix parts made in different ways.

    Raises:
        UserError: naming what differs.
    """
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    before = json.loads(path.read_text())
    differing = [
        name for name in sorted(before | settings) if before.get(name) != settings.get(name)
    ]
    if differing:
        told = ", ".join(
            f"{name} was {before.get(name)} and is {settings.get(name)}" for name in differing
        )
        raise UserError(
            f"{folder} holds parts made otherwise ({told}): delete it, or repeat the command as it was"
        )


def build(
    builder_class: type[PreparedBuilder], data_dir: str | os.PathLike, *, keep_parts: bool
) -> dict[str, int]:
    """Writes the data set from its parts, in place of an older one.

    Args:
        builder_class: the data set.
        data_dir: folder of data sets.
        keep_parts: whether parts stay for a later run to add to.

    Returns:
        Samples in each split.

    Raises:
        UserError: there is not one sample.
    """
    parts = parts_folder(data_dir, builder_class.name)
    if not any(parts.glob("*/*.msgpack")):
        raise UserError(
            f"not one sample of {builder_class.name} could be prepared; see what was left out"
        )
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    shutil.rmtree(builder.data_path, ignore_errors=True)
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    if not keep_parts:
        shutil.rmtree(parts)
    return {name: split.num_examples for name, split in builder.info.splits.items()}


def is_built(builder_class: type[PreparedBuilder], data_dir: str | os.PathLike) -> bool:
    """Whether the data set is there, whole."""
    folder = pathlib.Path(data_dir).expanduser() / builder_class.name
    return (folder / str(builder_class.VERSION) / "dataset_info.json").is_file()


def open_split(
    builder_class: type[PreparedBuilder], data_dir: str | os.PathLike, split: str, command: str
):
    """A split for random access.

    Args:
        builder_class: the data set.
        data_dir: folder of data sets.
        split: its name.
        command: what prepares the data set, for the message.

    Raises:
        UserError: the data set is not there, or has no such split.
    """
    name = builder_class.name
    if not is_built(builder_class, data_dir):
        raise UserError(f"{name} is not in {data_dir}: prepare it with {command}")
    builder = builder_class(
        data_dir=pathlib.Path(data_dir).expanduser(), file_format="array_record"
    )
    if split not in builder.info.splits:
        raise UserError(
            f"{name} in {data_dir} has no split {split!r}, only {', '.join(builder.info.splits)}: {command}"
        )
    skipped = {key: tfds.decode.SkipDecoding() for key in _ENCODED if key in builder_class.FIELDS}
    return builder.as_data_source(split=split, decoders=skipped)


def _feature(field: schema.Field):
    if field.dtype == "jpeg":
        return tfds.features.Image(
            shape=(schema.IMAGE_SIZE, schema.IMAGE_SIZE, 3), encoding_format="jpeg"
        )
    if field.dtype == "png":
        return tfds.features.Image(
            shape=(schema.IMAGE_SIZE, schema.IMAGE_SIZE, 1), encoding_format="png"
        )
    if field.dtype == "text":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype))
