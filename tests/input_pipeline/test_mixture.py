"""Mixtures keep their shares, contain every sample, and continue exactly after an interruption."""

import itertools

import jax
import numpy as np
import pytest

from dice_jax.constants import CROP_SIZE, NUM_HEAD_VERTICES
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.input_pipeline.mixture import Mixture, Subset, evenly_spaced


def source(size, first, **labels):
    """Samples with their number as the color of the image."""
    image = np.ones((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return [schema.encode({"image": (first + i) * image, **labels}) for i in range(size)]


STUDIO = source(
    24,
    0,
    hand_betas=np.ones(10),
    hand_global_orient=np.ones(3),
    hand_keypoints_2d=np.ones((21, 3)),
    deformations=np.full((NUM_HEAD_VERTICES, 3), 1e-3),
)
WILD = source(3, 100, hand_keypoints_2d=np.ones((21, 3)), hand_keypoints_depth=np.ones(21))


def numbers(batch):
    return batch.images[:, 0, 0, 0].astype(int)


@pytest.mark.parametrize("weights", [(3, 1), (0.75, 0.25), (1, 1), (1, 5), (20, 1)])
def test_an_epoch_keeps_the_shares_and_has_every_sample(weights):
    mixture = Mixture([STUDIO, WILD], weights)
    seen = np.array([schema.decode(mixture[i])["image"][0, 0, 0] for i in range(len(mixture))])
    counts = np.bincount(seen, minlength=256)
    assert (counts[:24] > 0).all() and (counts[100:103] > 0).all() and not counts[24:100].any()
    assert counts[:24].max() - counts[:24].min() <= 1 and np.ptp(counts[100:103]) <= 1
    expected = pytest.approx(weights[1] / sum(weights), abs=1.5 / len(mixture))
    assert counts[100:].sum() / len(mixture) == expected


def test_masks_mark_the_labels_of_each_source():
    batch = loader.Loader(Mixture([STUDIO, WILD], (3, 1)), 16, seed=0).batch(0)
    wild = numbers(batch) >= 100
    assert wild.any() and not wild.all()
    for name in ("has_3d", "has_params", "has_deformations"):
        np.testing.assert_array_equal(getattr(batch, name), ~wild)
    np.testing.assert_array_equal(batch.has_depth, wild)
    assert batch.has_2d.all() and not batch.has_contact.any()
    assert not batch.deformations[wild].any() and not batch.hand_params.betas[wild].any()


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_epoch_continues_with_the_same_batches(processes):
    """Also with augmentation, with other numbers of threads, and for each of several processes."""
    randomize = lambda sample, rng: {**sample, "hand_betas": rng.normal(size=10)}
    mixture = Mixture([STUDIO, WILD], (3, 1))
    for process in range(processes):
        make = lambda threads, process=process: loader.Loader(
            mixture,
            4,
            seed=7,
            transform=randomize,
            num_threads=threads,
            process_index=process,
            process_count=processes,
        )
        uninterrupted = list(make(3).batches(0, 12))
        resumed = [*itertools.islice(make(1).batches(0, 12), 5), *make(2).batches(5, 12)]
        jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)


def test_an_index_beyond_the_end_is_an_error():
    mixture = Mixture([STUDIO, WILD], (1, 1))
    with pytest.raises(IndexError):
        mixture[len(mixture)]


def test_an_evenly_spaced_subset_reaches_from_the_first_to_the_last_sample():
    subset = Subset(STUDIO, evenly_spaced(24, 5))
    assert len(subset) == 5 and list(evenly_spaced(24, 5)) == [0, 6, 12, 17, 23]
    assert schema.decode(subset[4])["image"][0, 0, 0] == 23
    assert list(evenly_spaced(3, 10)) == [0, 1, 2]


@pytest.mark.parametrize(
    "sources, weights",
    [
        ([STUDIO], (1, 2)),
        ([STUDIO, []], (1, 1)),
        ([STUDIO, WILD], (1, 0)),
        ([STUDIO, WILD], (1, float("nan"))),
        ([], ()),
    ],
)
def test_an_impossible_mixture_is_an_error(sources, weights):
    with pytest.raises(UserError):
        Mixture(sources, weights)
