"""Data sets from parts: what is opened, and what a build leaves behind."""

import pytest

from dice_jax.datasets import composites
from dice_jax.datasets.in_the_wild import dataset as in_the_wild
from dice_jax.errors import UserError


@pytest.mark.parametrize(
    ("module", "reason"), [(composites, "a fit"), (in_the_wild, "no ground truth")]
)
def test_data_sets_to_train_with_have_no_other_split(tmp_path, module, reason):
    with pytest.raises(UserError, match=f"no split 'test', only train: .*{reason}"):
        module.load_split(tmp_path, "test")
    with pytest.raises(UserError, match=r"is not in .*: prepare it with"):
        module.load_split(tmp_path, "train")
