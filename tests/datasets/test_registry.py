"""Data sets by name: mixtures, and the list of what is missing."""

import numpy as np
import pytest

from dice_jax.configs import full
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema


@pytest.fixture
def empty(monkeypatch, tmp_path):
    monkeypatch.setenv("DICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DICE_ASSETS", str(tmp_path / "assets"))
    return tmp_path


def test_without_the_data_a_run_ends_with_the_list(empty):
    needed = lambda: registry.require(full.get_config())
    for stop, count in (
        (needed, 5),
        (lambda: registry.open_split("decaf:11+in_the_wild", "train"), 4),
    ):
        with pytest.raises(UserError) as caught:
            stop()
        told = str(caught.value)
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
        assert all(word in told for word in words) and (
            "dice_jax.tools.prepare_priors" in told
        ) == (count == 5)
        assert told.startswith(f"{count} things missing: (1)") and "\n" not in told


def test_the_open_default_needs_nothing(empty):
    config = full.get_config("synthetic")
    registry.require(config)
    assert config.data.name == registry.OPEN and config.data.sizes.train > 0
    with pytest.raises(ValueError, match="licensed, synthetic"):
        full.get_config("everything")


def test_labels_of_licensed_bodies_need_those_bodies(empty):
    config = full.get_config("synthetic")
    config.data.name = "decaf"
    with pytest.raises(
        UserError, match=r"labels of decaf belong to flame and mano_right.*configs/full\.py"
    ):
        registry.require(config)
    config.data.name = "in_the_wild"  # 2D only: any bodies will do
    with pytest.raises(UserError, match="1 thing missing"):
        registry.require(config)


def test_mixtures_are_opened_by_their_shares(empty, monkeypatch):
    make = lambda size, value: (
        lambda folder, split, count: (
            [schema.encode({"image": np.full((224, 224, 3), value, np.uint8), "gesture": split})]
            * size
        )
    )
    monkeypatch.setattr(
        registry, "DATASETS", {"one": make(9, 1), "two": make(2, 2), "none": make(0, 0)}
    )
    mixture = registry.open_split("one:3 + two", "train")
    values = [schema.decode(mixture[i])["image"][0, 0, 0] for i in range(len(mixture))]
    assert values == [1] * 9 + [2] * 3
    assert len(registry.open_split("one:3+two", "validation")) == 9
    bad = {
        "three": "unknown data set 'three': there is one, two",
        "one:-1": "positive share",
        "one:x": "positive share",
        "one+one": "each data set once",
        "none": "is empty",
    }
    for name, words in bad.items():
        with pytest.raises(UserError, match=words):
            registry.open_split(name, "train")
