"""Batches are a pure function of (data, seed, step)."""

import jax
import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema


def example(index: int) -> dict:
    """A sample with its number in the betas; odd ones have a contact label as well."""
    sample = {
        "image": np.full((CROP_SIZE, CROP_SIZE, 3), index, np.uint8),
        "hand_betas": np.full(10, index, np.float32),
        "hand_keypoints_2d": np.full((21, 3), index, np.float32),
    }
    if index % 2:
        sample["hand_contact"] = np.ones(NUM_HAND_VERTICES, np.uint8)
    return schema.encode(sample)


SOURCE = [example(index) for index in range(10)]


def numbers(batch):
    return np.rint(batch.hand_params.betas[:, 0]).astype(int)


def test_an_epoch_has_every_sample_once_and_the_next_another_order():
    batches = [numbers(loader.Loader(SOURCE, 5, seed=1).batch(step)) for step in range(4)]
    first, second = np.concatenate(batches[:2]), np.concatenate(batches[2:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_batches_across_the_end_of_an_epoch_skip_no_sample():
    order = np.concatenate(
        [numbers(loader.Loader(SOURCE, 4, seed=1).batch(step)) for step in range(5)]
    )
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stream_from_any_step_equals_random_access(threads):
    def add_noise(sample, rng):
        noise = rng.normal(size=10).astype(np.float32)
        return {**sample, "hand_betas": sample["hand_betas"] + noise}

    source = loader.Loader(SOURCE, 4, seed=3, transform=add_noise, num_threads=threads)
    for step, batch in enumerate(source.batches(7, 12), start=7):
        jax.tree.map(np.testing.assert_array_equal, batch, source.batch(step))
    assert step == 11


def test_seeds_give_different_orders():
    batches = lambda seed: [
        numbers(loader.Loader(SOURCE, 5, seed=seed).batch(step)) for step in range(2)
    ]
    orders = [np.concatenate(batches(seed)) for seed in (1, 2)]
    assert list(orders[0]) != list(orders[1])


def test_processes_share_the_global_batch():
    whole = loader.Loader(SOURCE, 6, seed=0).batch(2)
    parts = [
        loader.Loader(SOURCE, 6, seed=0, process_index=i, process_count=3).batch(2)
        for i in range(3)
    ]
    jax.tree.map(lambda a, *b: np.testing.assert_array_equal(a, np.concatenate(b)), whole, *parts)


def test_missing_labels_are_zero_and_masked():
    batch = loader.Loader(SOURCE, 10, seed=0).batch(0)
    odd = numbers(batch) % 2
    np.testing.assert_array_equal(batch.has_contact, odd)
    np.testing.assert_array_equal(batch.hand_contact, np.tile(odd[:, None], NUM_HAND_VERTICES))
    assert batch.has_params.all() and batch.has_2d.all()
    assert not batch.has_3d.any() and not batch.has_depth.any()


@pytest.mark.parametrize("batch_size, limit", [(4, None), (4, 7), (16, None), (5, 100)])
def test_sequential_batches_have_each_sample_once(batch_size, limit):
    seen, sizes = [], set()
    for batch, valid in loader.sequential_batches(SOURCE, batch_size, limit):
        seen += list(numbers(batch)[valid])
        sizes.add(len(batch.images))
    assert seen == list(range(min(10, limit or 10))) and sizes == {batch_size}


def test_an_empty_split_has_no_sequential_batches():
    assert list(loader.sequential_batches([], 4)) == []


def test_an_empty_training_split_is_an_error():
    with pytest.raises(UserError, match="empty"):
        loader.Loader([], 4, seed=0)


def test_a_damaged_image_is_an_error_that_says_to_rebuild_the_data_set():
    broken = [{**SOURCE[0], "image": b"not a JPEG"}]
    with pytest.raises(ValueError, match="rebuild"):
        list(loader.Loader(broken, 1, seed=0).batches(0, 1))
