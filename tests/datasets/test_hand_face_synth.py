"""The open data set on disk: built on demand in whole parts, and read back as it was made."""

import sys

import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.datasets import hand_face_synth, part_engines
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema


class FakeScenes:
    """Cheap samples that contain the number of their scene; `fails_at` interrupts a build once."""

    def __init__(self, views):
        self.views, self.made, self.fails_at = views, [], None

    def scene(self, index):
        if index == self.fails_at:
            self.fails_at = None
            raise KeyboardInterrupt
        self.made.append(index)
        return [self.example(index, view) for view in range(self.views)]

    def example(self, index, view):
        rng = np.random.default_rng((index, view))
        fields = schema.FEATURES | {name: schema.EXTRAS[name] for name in hand_face_synth.EXTRAS}
        example = {
            name: rng.normal(size=field.shape).astype(np.float32)
            for name, field in fields.items()
            if field.dtype == "float32"
        }
        deformations = np.zeros((NUM_HEAD_VERTICES, 3), np.float32)
        deformations[rng.choice(NUM_HEAD_VERTICES, index % 40, replace=False)] = 0.003
        return example | dict(
            image=np.full((CROP_SIZE, CROP_SIZE, 3), 40 * view + 20, np.uint8),
            deformations=deformations,
            subject=index,
            scene=index,
            hand_contact=np.ones(NUM_HAND_VERTICES, np.uint8),
            head_contact=rng.integers(0, 2, NUM_HEAD_VERTICES).astype(np.uint8),
            gesture="point",
            kind="touch",
            attempts=index + 1,
        )


@pytest.fixture
def scenes():
    return FakeScenes(views=3)


def in_this_process(write, numbers):
    return map(write, numbers)


@pytest.fixture
def load_split(scenes, tmp_path):
    production = hand_face_synth.Production(lambda views: scenes, 2, in_this_process)
    return lambda split, size: hand_face_synth.load_split(tmp_path, split, size, production)


def test_samples_are_read_as_they_were_made(scenes, load_split):
    source = load_split("train", 10)
    assert len(source) == 10
    for i in range(10):
        expected, read = scenes.example(*divmod(i, 3)), schema.decode(source[i])
        assert set(read) == set(expected) and read["gesture"] == "point"
        assert np.abs(read["image"].astype(int) - expected["image"]).max() <= 3
        for name in set(expected) - {"image", "gesture", "kind"}:
            np.testing.assert_allclose(read[name], expected[name], atol=3e-6, err_msg=name)


def test_a_split_is_built_once_and_its_parts_are_deleted(scenes, load_split, tmp_path):
    load_split("train", 6)
    assert scenes.made == [0, 1]
    load_split("train", 6)
    assert scenes.made == [0, 1]
    assert not list(tmp_path.rglob("*.msgpack"))


def test_a_killed_build_leaves_nothing_behind_once_it_is_finished(load_split, tmp_path):
    version = tmp_path / "hand_face_synth" / "train_6"
    parts = tmp_path / "hand_face_synth_parts"
    for folder in (version / "incomplete.ABC123_1.0.0", parts):
        folder.mkdir(parents=True)
    (version / "incomplete.ABC123_1.0.0" / "half.array_record").write_bytes(b"x")
    (parts / ".000001.abc.msgpack").write_bytes(b"x")
    load_split("train", 6)
    assert not list(tmp_path.rglob("incomplete.*")) and not parts.exists()


def test_opening_a_finished_split_leaves_other_builds_alone(load_split, tmp_path):
    """Their files need not have changed since the split was asked for, which takes no time."""
    load_split("train", 6)
    folder = tmp_path / "hand_face_synth" / "train_6" / "incomplete.ABC123_2.9.0"
    part = tmp_path / "hand_face_synth_parts" / "2.9.0-train-1" / ".000001.abc.msgpack"
    for path in (folder / "half.array_record", part):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    load_split("train", 6)
    assert (folder / "half.array_record").exists() and part.exists()


def test_a_folder_that_vanishes_while_a_build_ends_is_no_error(load_split, tmp_path):
    """As that of another build does; a dangling link is as absent."""
    version = tmp_path / "hand_face_synth" / "train_6"
    version.mkdir(parents=True)
    (version / "incomplete.ABC123_2.9.0").symlink_to(tmp_path / "gone")
    assert len(load_split("train", 6)) == 6


def test_a_smaller_split_is_the_beginning_of_a_larger_one(scenes, load_split):
    load_split("train", 18)
    made = list(scenes.made)
    source = load_split("train", 7)
    assert scenes.made == made
    assert [int(source[i]["scene"]) for i in range(len(source))] == [0, 0, 0, 1, 1, 1, 2]


def test_an_interrupted_build_continues_with_the_unfinished_part(scenes, load_split):
    scenes.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        load_split("train", 18)
    assert scenes.made == [0, 1, 2]
    source = load_split("train", 18)
    # The part of scenes 2 and 3 was unfinished and is made again; the one before is kept.
    assert scenes.made == [0, 1, 2, 2, 3, 4, 5]
    assert [int(source[i]["scene"]) for i in range(18)] == [i // 3 for i in range(18)]


def record_files(folder):
    """Contents of all data files of a data set, by name."""
    files = {path.name: path.read_bytes() for path in folder.rglob("*array_record*")}
    assert files
    return files


@pytest.mark.parametrize("begun", [False, True])
def test_beam_makes_the_same_bytes(begun, scenes, load_split, tmp_path):
    pytest.importorskip("apache_beam", reason="needs dice_jax[beam]")
    load_split("train", 20)
    engine, other = part_engines.through_beam(), tmp_path / "beam"
    production = hand_face_synth.Production(FakeScenes, 2, engine)
    if begun:  # by another engine
        scenes.fails_at = 3
        interrupted = hand_face_synth.Production(lambda views: scenes, 2, in_this_process)
        with pytest.raises(KeyboardInterrupt):
            hand_face_synth.load_split(other, "train", 20, interrupted)
    hand_face_synth.load_split(other, "train", 20, production)
    name = hand_face_synth.HandFaceSynth.name
    assert record_files(tmp_path / name) == record_files(other / name)


def test_without_beam_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 'dice_jax\[beam\]'") as caught:
        part_engines.through_beam()
    assert "\n" not in str(caught.value)


def square(number):
    return number**2


def test_processes_of_this_machine_make_every_part():
    assert sorted(part_engines.on_this_machine(square, range(5))) == [0, 1, 4, 9, 16]


def test_splits_share_no_scene(load_split):
    scenes = []
    for split in hand_face_synth.DEFAULT_SIZES:
        source = load_split(split, 6)
        scenes += {int(source[i]["subject"]) for i in range(6)}
    assert len(scenes) == len(set(scenes))


@pytest.mark.parametrize(
    "split, size, words", [("dev", 4, "train, validation, test"), ("train", 0, "at least one")]
)
def test_an_unknown_split_or_size_is_one_clear_line(split, size, words, load_split):
    with pytest.raises(UserError, match=words) as caught:
        load_split(split, size)
    assert "\n" not in str(caught.value)


def test_the_schema_rejects_unknown_fields_wrong_shapes_and_damaged_images():
    with pytest.raises(ValueError, match="betas"):
        schema.encode({"betas": np.zeros(10)})
    with pytest.raises(ValueError, match=r"hand_pose has shape \(44,\)"):
        schema.encode({"hand_pose": np.zeros(44)})
    with pytest.raises(ValueError, match="cannot be decoded"):
        schema.decode({"image": b"no image"})
