"""Other backgrounds behind the person, and the pixel changes of the reference."""

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from dice_jax.body_models import load_hand, load_head
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets.augmentation import augmentation
from dice_jax.errors import UserError
from dice_jax.input_pipeline import photometric


@pytest.fixture
def folder(tmp_path):
    """Images of one color each, smaller and larger than a crop, in a subfolder."""
    (tmp_path / "deeper").mkdir()
    for i, shape in enumerate([(100, 300), (600, 500), (CROP_SIZE, CROP_SIZE), (900, 1400)]):
        image = np.full((*shape, 3), (0, 50 * i + 50, 255), np.uint8)
        cv2.imwrite(str(tmp_path / "deeper" / f"{i}.png"), image)
    return tmp_path


def test_the_person_stays_and_the_background_comes_from_the_folder(folder, rng):
    image = rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    mask = np.zeros((CROP_SIZE, CROP_SIZE), bool)
    mask[60:160, 80:150] = True
    backgrounds, seen = photometric.Backgrounds(folder), set()
    for seed in range(60):
        background = backgrounds.draw(CROP_SIZE, np.random.default_rng(seed))
        changed = photometric.replace_background(image, mask, background)
        np.testing.assert_array_equal(changed[mask], image[mask])
        colors = np.unique(changed[~mask], axis=0)
        assert len(colors) == 1
        seen.add(tuple(int(c) for c in colors[0]))
    assert seen == {(0, 0, 0), *((255, 50 * i + 50, 0) for i in range(4))}
    first, again = (backgrounds.draw(CROP_SIZE, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_folder_without_images_and_a_damaged_image_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no images in the folder of backgrounds"):
        photometric.Backgrounds(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png: not a readable image .*remove it"):
        for seed in range(20):
            photometric.Backgrounds(tmp_path).draw(CROP_SIZE, np.random.default_rng(seed))


@pytest.mark.parametrize("change", photometric.CHANGES, ids=lambda change: change.__name__)
def test_every_change_keeps_the_shape_and_changes_pixels(rng, change):
    image = rng.integers(20, 200, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 1)
    changed = change(image, rng)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - image).mean() > 0.1


def test_stretching_uses_all_levels_equalizing_flattens_and_posterizing_leaves_four(rng):
    image = rng.integers(50, 151, (64, 64, 3), dtype=np.uint8)
    stretched = photometric.stretch_contrast(image, rng)
    assert stretched.min() == 0 and stretched.max() == 255
    counts = np.histogram(photometric.equalize(image, rng)[..., 1], 8, (0, 256))[0]
    assert counts.max() < 1.5 * counts.min()
    assert set(np.unique(photometric.posterize(image, rng))) <= {0, 64, 128, 192}


def augmented(sample, seed, **config):
    return augmentation(ConfigDict(config), load_hand(), load_head())(
        sample, np.random.default_rng(seed)
    )


def test_the_configuration_turns_on_background_and_flip(folder):
    """Also for a sample without 3D labels, and without a mask."""
    sample = dict(
        image=np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8),
        foreground=np.zeros((CROP_SIZE, CROP_SIZE), bool),
        hand_keypoints_2d=np.full((21, 3), 50, np.float32),
        head_keypoints_2d=np.full((68, 3), 50, np.float32),
    )
    same = augmented(sample, 0, background=0.0, flip=0.0)
    np.testing.assert_array_equal(same["image"], sample["image"])
    assert set(same) == set(sample) - {"foreground"}
    replaced = augmented(sample, 1, background=1.0, background_folder=str(folder))
    assert (replaced["image"] != 128).all(-1).any()
    flipped = augmented(sample, 0, flip=1.0)
    np.testing.assert_allclose(flipped["hand_keypoints_2d"][:, 0], CROP_SIZE - 50, atol=1e-3)
    without_mask = {name: value for name, value in sample.items() if name != "foreground"}
    kept = augmented(without_mask, 1, background=1.0, background_folder=str(folder))
    np.testing.assert_array_equal(kept["image"], sample["image"])


def test_changes_with_probability_0_draw_no_random_numbers(rng):
    """So a new kind of change does not alter the runs that do not use it."""
    sample = dict(image=rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8))
    config = dict(rotation=0.35, scale=0.12, shift=12.0, color=0.25, blur=0.2, noise=8.0)
    expected = np.random.default_rng(5)
    angle_and_scale, shift, gains, brightness_and_contrast = (None, None), 2, 3, 2
    for size in (*angle_and_scale, shift, gains, brightness_and_contrast):
        expected.uniform(size=size)
    if expected.uniform() < 0.2:  # blur
        expected.uniform()
    if expected.uniform(0, 8.0) > 0.5:  # noise
        expected.integers(0, 256, (2, CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    used = np.random.default_rng(5)
    augmentation(ConfigDict(config), load_hand(), load_head())(sample, used)
    assert used.integers(2**62) == expected.integers(2**62)
