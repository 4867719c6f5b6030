"""Other backgrounds behind the person and nowhere else; the reference's changes of the pixels."""

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from dice_jax.body_models import load_hand, load_head
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.input_pipeline import photometric


@pytest.fixture
def folder(tmp_path):
    """Pictures of one color each, smaller and larger than a crop."""
    for i, shape in enumerate([(100, 300), (600, 500), (224, 224), (900, 1400)]):
        (tmp_path / "deeper").mkdir(exist_ok=True)
        cv2.imwrite(
            str(tmp_path / "deeper" / f"{i}.png"),
            np.full((*shape, 3), (0, 50 * i + 50, 255), np.uint8),
        )
    return tmp_path


def test_the_person_stays_and_the_rest_is_of_the_folder(folder, rng):
    image = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    mask = np.zeros((224, 224), bool)
    mask[60:160, 80:150] = True
    backgrounds, seen = photometric.Backgrounds(folder), set()
    for seed in range(60):
        behind = backgrounds.draw(224, np.random.default_rng(seed))
        changed = photometric.replace_background(image, mask, behind)
        np.testing.assert_array_equal(changed[mask], image[mask])
        colors = np.unique(changed[~mask], axis=0)
        assert len(colors) == 1
        seen.add(tuple(int(c) for c in colors[0]))
    assert seen == {(0, 0, 0), *((255, 50 * i + 50, 0) for i in range(4))}
    first, again = (backgrounds.draw(224, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_one_clear_line_for_what_is_no_folder_of_pictures(tmp_path):
    with pytest.raises(UserError, match="no pictures in the folder of backgrounds"):
        photometric.Backgrounds(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        for seed in range(20):
            photometric.Backgrounds(tmp_path).draw(224, np.random.default_rng(seed))


@pytest.mark.parametrize("change", photometric._CHANGES, ids=lambda change: change.__name__)
def test_changes_keep_the_shape_and_change_something(rng, change):
    image = cv2.GaussianBlur(rng.integers(20, 200, (224, 224, 3), dtype=np.uint8), (0, 0), 1)
    changed = change(image, rng)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - image).mean() > 0.1


def test_stretching_and_equalizing_are_what_they_say(rng):
    image = rng.integers(50, 151, (64, 64, 3), dtype=np.uint8)
    stretched = photometric._stretch(image, rng)
    assert stretched.min() == 0 and stretched.max() == 255
    counts = np.histogram(photometric._equalize(image, rng)[..., 1], 8, (0, 256))[0]
    assert counts.max() < 1.5 * counts.min()
    assert set(np.unique(photometric._posterize(image, rng))) <= {0, 64, 128, 192}


def test_every_change_of_the_config_is_made_and_none_without_it(folder, rng):
    """All chances at once; a sample without a mask or without 3D labels goes through too."""
    sample = dict(
        image=np.full((224, 224, 3), 128, np.uint8),
        foreground=np.zeros((224, 224), bool),
        hand_keypoints_2d=np.full((21, 3), 50, np.float32),
        head_keypoints_2d=np.full((68, 3), 50, np.float32),
    )
    make = lambda **fields: registry.augmentation(ConfigDict(fields), load_hand(), load_head())
    same = make(background=0.0, flip=0.0)(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(same["image"], sample["image"])
    assert set(same) == set(sample) - {"foreground"}
    behind = make(background=1.0, background_folder=str(folder))(sample, np.random.default_rng(1))[
        "image"
    ]
    assert (behind != 128).all(-1).any()
    flipped = make(flip=1.0)(sample, np.random.default_rng(0))
    np.testing.assert_allclose(flipped["hand_keypoints_2d"][:, 0], 174, atol=1e-3)
    without_mask = {name: value for name, value in sample.items() if name != "foreground"}
    kept = make(background=1.0, background_folder=str(folder))(
        without_mask, np.random.default_rng(1)
    )
    np.testing.assert_array_equal(kept["image"], sample["image"])


def test_present_configurations_draw_the_same_numbers(rng):
    """Chances of 0 draw nothing: runs that went before go on as they were."""
    sample = dict(image=rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
    fields = dict(rotation=0.35, scale=0.12, shift=12.0, color=0.25, blur=0.2, noise=8.0)
    expected = np.random.default_rng(5)
    for size in (
        None,
        None,
        2,
        3,
        2,
        None,
    ):  # angle, scale, shift; gains, brightness and contrast, blur or not
        blurred = expected.uniform(size=size)
    if blurred < 0.2:
        expected.uniform()
    if expected.uniform(0, 8.0) > 0.5:
        expected.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    used = np.random.default_rng(5)
    registry.augmentation(ConfigDict(fields), load_hand(), load_head())(sample, used)
    assert used.integers(2**62) == expected.integers(2**62)
