"""Data sets by name: mixtures, and the list of what is missing."""

import numpy as np
import pytest

from dice_jax.checkpoints import pretrained_backbones
from dice_jax.configs import full
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """Empty folders of data sets and assets."""
    monkeypatch.setenv("DICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DICE_ASSETS", str(tmp_path / "assets"))
    return tmp_path


def test_missing_files_are_listed_with_the_commands_that_make_them(empty):
    config = full.get_config()
    words = (
        "mano_right.npz",
        "MANO_RIGHT.pkl",
        "flame.npz",
        "landmark_embedding.npy",
        "dice_jax.tools.prepare_decaf",
        "dice_jax.tools.prepare_in_the_wild",
        "full.py:synthetic",
        str(empty),
    )
    backbone = pretrained_backbones.missing(config.model)
    assert "convert_hrnet" in backbone and "pretrained=none" in backbone
    for stop, count in (
        (lambda: registry.require(config.data, config.body_models, further=[None]), 5),
        (lambda: registry.require(config.data, config.body_models, further=[backbone]), 6),
        (lambda: registry.open_split("decaf:11+in_the_wild", "train"), 4),
    ):
        with pytest.raises(UserError) as caught:
            stop()
        message = str(caught.value)
        assert all(word in message for word in words)
        assert ("dice_jax.tools.prepare_priors" in message) == (count >= 5)
        assert ("hrnet_w64.npz" in message) == (count == 6)
        assert message.startswith(f"{count} things missing: (1)") and "\n" not in message


def test_the_open_configuration_needs_no_files(empty):
    config = full.get_config("synthetic")
    assert pretrained_backbones.missing(config.model) is None
    registry.require(config.data, config.body_models)
    assert config.data.name == registry.OPEN and config.data.sizes.train > 0
    with pytest.raises(ValueError, match="licensed, synthetic, overfit"):
        full.get_config("everything")


def test_3d_labels_need_the_body_models_that_they_belong_to(empty):
    config = full.get_config("synthetic")
    config.data.name = "decaf"
    words = r"labels of decaf belong to flame and mano_right.*configs/full\.py"
    with pytest.raises(UserError, match=words):
        registry.require(config.data, config.body_models)
    config.data.name = "in_the_wild"  # 2D labels only: any body models
    with pytest.raises(UserError, match="1 thing missing"):
        registry.require(config.data, config.body_models)


def test_a_mixture_has_the_shares_of_its_name_in_training_only(empty):
    def constant(size, color):
        image = np.full((CROP_SIZE, CROP_SIZE, 3), color, np.uint8)
        return lambda folder, split, count: [schema.encode({"image": image})] * size

    datasets = {"one": constant(9, 1), "two": constant(2, 2), "none": constant(0, 0)}
    open_split = lambda name, split: registry.open_split(name, split, datasets=datasets)
    mixture = open_split("one:3 + two", "train")
    values = [schema.decode(mixture[i])["image"][0, 0, 0] for i in range(len(mixture))]
    assert values == [1] * 9 + [2] * 3
    assert len(open_split("one:3+two", "validation")) == 9
    for name, words in {
        "three": "unknown data set 'three': choose from one, two",
        "one:-1": "positive share",
        "one:x": "positive share",
        "one+one": "each data set once",
        "none": "is empty",
    }.items():
        with pytest.raises(UserError, match=words):
            open_split(name, "train")
