"""Data sets from parts: what is opened, and what a build leaves behind."""

import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import composites, prepared_records
from dice_jax.datasets.in_the_wild import dataset as in_the_wild
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema


@pytest.mark.parametrize(
    ("module", "reason"), [(composites, "a fit"), (in_the_wild, "no ground truth")]
)
def test_data_sets_to_train_with_have_no_other_split(tmp_path, module, reason):
    with pytest.raises(UserError, match=f"no split 'test', only train: .*{reason}"):
        module.load_split(tmp_path, "test")
    with pytest.raises(UserError, match=r"is not in .*: prepare it with"):
        module.load_split(tmp_path, "train")


def sample():
    """One of `in_the_wild`, without a label."""
    fields = schema.FEATURES | schema.EXTRAS
    numbers = {
        name: np.zeros(fields[name].shape, fields[name].dtype)
        for name in in_the_wild.InTheWild.FIELDS
        if fields[name].dtype in ("float32", "int64")
    }
    return numbers | {"image": np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), "source": "a"}


def build(folder, samples_of):
    """A data set with a number of samples for each split."""
    parts = prepared_records.parts_folder(folder, in_the_wild.InTheWild.name)
    for split, count in samples_of.items():
        examples = [sample()] * count
        prepared_records.write_part(parts / split / "00000.msgpack", examples, {"no face": ["b"]})
    return prepared_records.build(in_the_wild.InTheWild, folder, keep_parts=True)


def test_parts_without_a_sample_are_one_clear_line_and_an_older_data_set_stays(tmp_path):
    assert build(tmp_path, {"train": 2}) == {"train": 2}
    with pytest.raises(UserError, match="no sample of in_the_wild could be prepared"):
        build(tmp_path, {"train": 0})
    assert len(in_the_wild.load_split(tmp_path, "train")) == 2


def test_a_split_of_which_everything_was_left_out_is_not_there(tmp_path):
    assert build(tmp_path, {"train": 3, "validation": 0}) == {"train": 3}
    assert len(in_the_wild.load_split(tmp_path, "train", 2)) == 2
