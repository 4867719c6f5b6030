"""Mixtures hold their shares, lose nobody, and go on after a break as if there had been none."""

import itertools

import jax
import numpy as np
import pytest

from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.input_pipeline.mixture import Mixture, Subset, evenly_spaced


def source(size, first, **labels):
    """Samples that tell their number in the picture; `labels` beside it."""
    return [
        schema.encode({"image": np.full((224, 224, 3), first + i, np.uint8), **labels})
        for i in range(size)
    ]


STUDIO = source(
    24,
    0,
    hand_betas=np.ones(10),
    hand_global_orient=np.ones(3),
    hand_keypoints_2d=np.ones((21, 3)),
    deformations=np.full((5023, 3), 1e-3),
)
WILD = source(3, 100, hand_keypoints_2d=np.ones((21, 3)), hand_keypoints_depth=np.ones(21))


def numbers(batch):
    return batch.images[:, 0, 0, 0].astype(int)


@pytest.mark.parametrize("weights", [(3, 1), (0.75, 0.25), (1, 1), (1, 5), (20, 1)])
def test_shares_are_held_and_everyone_is_there(weights):
    mixture = Mixture([STUDIO, WILD], weights)
    seen = np.array([schema.decode(mixture[i])["image"][0, 0, 0] for i in range(len(mixture))])
    counts = np.bincount(seen, minlength=256)
    assert (counts[:24] > 0).all() and (counts[100:103] > 0).all() and not counts[24:100].any()
    assert counts[:24].max() - counts[:24].min() <= 1 and np.ptp(counts[100:103]) <= 1
    assert (counts[100:].sum() / len(mixture)) == pytest.approx(
        weights[1] / sum(weights), abs=1.5 / len(mixture)
    )


def test_masks_tell_which_labels_a_sample_has():
    batch = loader.Loader(Mixture([STUDIO, WILD], (3, 1)), 16, seed=0).batch(0)
    wild = numbers(batch) >= 100
    assert wild.any() and not wild.all()
    for name in ("has_3d", "has_params", "has_deformations"):
        np.testing.assert_array_equal(getattr(batch, name), ~wild)
    np.testing.assert_array_equal(batch.has_depth, wild)
    assert batch.has_2d.all() and not batch.has_contact.any()
    assert not batch.deformations[wild].any() and not batch.hand_params.betas[wild].any()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_off_epoch_goes_on_with_the_very_samples(processes):
    """In the middle of an epoch, sharded or not, with augmentation, batches ahead of the last one
    lost.
    """
    noisy = lambda sample, rng: {**sample, "hand_betas": rng.normal(size=10)}
    mixture = Mixture([STUDIO, WILD], (3, 1))
    for process in range(processes):
        shard = dict(process_index=process, process_count=processes)
        make = lambda threads, shard=shard: loader.Loader(
            mixture, 4, seed=7, transform=noisy, num_threads=threads, **shard
        )
        unbroken = list(make(3).batches(0, 12))
        broken = [*itertools.islice(make(1).batches(0, 12), 5), *make(2).batches(5, 12)]
        jax.tree.map(np.testing.assert_array_equal, unbroken, broken)


def test_samples_out_of_range_and_in_parts():
    mixture = Mixture([STUDIO, WILD], (1, 1))
    with pytest.raises(IndexError):
        mixture[len(mixture)]
    part = Subset(STUDIO, evenly_spaced(24, 5))
    assert len(part) == 5 and list(evenly_spaced(24, 5)) == [0, 6, 12, 17, 23]
    assert schema.decode(part[4])["image"][0, 0, 0] == 23
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
def test_impossible_mixtures_are_refused(sources, weights):
    with pytest.raises(UserError):
        Mixture(sources, weights)
