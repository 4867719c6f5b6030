"""The data set on disk: built on the spot, whole parts or none, read back as it was made."""

import numpy as np
import pytest

from dice_jax.datasets import hand_face_synth
from dice_jax.errors import UserError
from dice_jax.input_pipeline import schema


class FakeSampler:
    """Cheap examples that tell their scene; `fails_at` breaks off a build there, once."""

    def __init__(self, views):
        self.views, self.asked, self.fails_at = views, [], None

    def scene(self, index):
        if index == self.fails_at:
            self.fails_at = None
            raise KeyboardInterrupt
        self.asked.append(index)
        return [self.example(index, view) for view in range(self.views)]

    def example(self, index, view):
        rng = np.random.default_rng((index, view))
        example = {
            name: rng.normal(size=field.shape).astype(np.float32)
            for name, field in schema.FEATURES.items()
            if field.dtype == "float32"
        }
        deformations = np.zeros((5023, 3), np.float32)
        deformations[rng.choice(5023, index % 40, replace=False)] = 0.003
        return example | dict(
            image=np.full((224, 224, 3), 40 * view + 20, np.uint8),
            deformations=deformations,
            subject=index,
            scene=index,
            hand_contact=np.ones(778, np.uint8),
            head_contact=rng.integers(0, 2, 5023).astype(np.uint8),
            gesture="point",
        )


@pytest.fixture
def sampler(monkeypatch):
    fake = FakeSampler(views=3)
    monkeypatch.setattr(hand_face_synth, "_sampler", lambda views: fake)
    monkeypatch.setattr(hand_face_synth, "_MAX_WORKERS", 1)
    monkeypatch.setattr(hand_face_synth, "_SCENES_PER_PART", 2)
    return fake


def test_what_is_read_is_what_was_made(sampler, tmp_path):
    source = hand_face_synth.load_split(tmp_path, "train", 10)
    assert len(source) == 10
    for i in range(10):
        expected, read = sampler.example(*divmod(i, 3)), schema.decode(source[i])
        assert set(read) == set(expected) and read["gesture"] == "point"
        assert np.abs(read["image"].astype(int) - expected["image"]).max() <= 3
        for name in set(expected) - {"image", "gesture"}:
            np.testing.assert_allclose(read[name], expected[name], atol=3e-6, err_msg=name)


def test_nothing_is_built_twice_and_parts_do_not_stay(sampler, tmp_path):
    hand_face_synth.load_split(tmp_path, "train", 6)
    asked = list(sampler.asked)
    assert asked == [0, 1]
    hand_face_synth.load_split(tmp_path, "train", 6)
    assert sampler.asked == asked
    assert not list(tmp_path.rglob("*.msgpack"))


def test_a_smaller_split_is_the_beginning_of_a_larger(sampler, tmp_path):
    hand_face_synth.load_split(tmp_path, "train", 18)
    asked = list(sampler.asked)
    source = hand_face_synth.load_split(tmp_path, "train", 7)
    assert sampler.asked == asked
    assert [int(source[i]["scene"]) for i in range(len(source))] == [0, 0, 0, 1, 1, 1, 2]


def test_a_broken_build_goes_on(sampler, tmp_path):
    sampler.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        hand_face_synth.load_split(tmp_path, "train", 18)
    assert sampler.asked == [0, 1, 2]
    source = hand_face_synth.load_split(tmp_path, "train", 18)
    # The part of scenes 2 and 3 was not finished and is made again; the one before is kept.
    assert sampler.asked == [0, 1, 2, 2, 3, 4, 5]
    assert [int(source[i]["scene"]) for i in range(18)] == [i // 3 for i in range(18)]


def test_splits_share_no_scene(sampler, tmp_path):
    numbers = {}
    for split in hand_face_synth.DEFAULT_SIZES:
        source = hand_face_synth.load_split(tmp_path, split, 6)
        numbers[split] = {int(source[i]["subject"]) for i in range(6)}
    assert not (numbers["train"] & numbers["test"]) and not (
        numbers["train"] & numbers["validation"]
    )
    assert not (numbers["validation"] & numbers["test"])


@pytest.mark.parametrize(
    "arguments, words", [(("dev", 4), "train, validation, test"), (("train", 0), "at least one")]
)
def test_one_clear_line(arguments, words, tmp_path):
    with pytest.raises(UserError, match=words) as caught:
        hand_face_synth.load_split(tmp_path, *arguments)
    assert "\n" not in str(caught.value)


def test_encoding_refuses_what_the_schema_does_not_know():
    with pytest.raises(ValueError, match="betas"):
        schema.encode({"betas": np.zeros(10)})
    with pytest.raises(ValueError, match=r"hand_pose has shape \(44,\)"):
        schema.encode({"hand_pose": np.zeros(44)})
    with pytest.raises(ValueError, match="cannot be decoded"):
        schema.decode({"image": b"no image"})
