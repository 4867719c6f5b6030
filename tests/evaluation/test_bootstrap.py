import jax
import numpy as np
import pytest
from support.metric_oracles import flat
from support.random_rows import random_rows, take

from dice_jax.evaluation import bootstrap, summarize


def test_intervals_are_percentiles_of_data_sets_put_together_again_from_their_subjects(rng):
    """Literally: the pictures of every drawn subject, as often as drawn, summarized; F1 and the
    other ratios included.
    """
    rows, subjects = random_rows(9, rng), np.array([7, 7, 2, 2, 2, 5, 9, 9, 4])
    names = np.unique(subjects)
    draws = np.random.default_rng(3).multinomial(
        len(names), np.full(len(names), 1 / len(names)), 50
    )
    drawn = [
        np.concatenate(
            [
                np.flatnonzero(subjects == name)
                for name, times in zip(names, row)
                for _ in range(times)
            ]
        )
        for row in draws
    ]
    summaries = [flat(summarize.summarize(summarize.total(take(rows, ids)))) for ids in drawn]
    result = flat(bootstrap.intervals(rows, subjects, resamples=50, seed=3))
    for name, interval in result.items():
        values = [summary[name] for summary in summaries if summary[name] is not None]
        np.testing.assert_allclose(
            interval, np.percentile(values, [2.5, 97.5]), rtol=1e-9, err_msg=name
        )


def test_the_interval_of_a_mean_is_that_of_statistics_books(rng):
    rows = random_rows(400, rng)
    low, high = bootstrap.intervals(rows, np.arange(400))["pve_mm"]
    error = 1000 * rows.pve.std(ddof=1) / np.sqrt(400)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (low + high) / 2 == pytest.approx(1000 * rows.pve.mean(), abs=0.2 * error)


def test_more_pictures_of_the_same_people_make_nothing_more_certain(rng):
    rows, people = random_rows(30, rng), np.arange(30)
    ten_times = take(rows, np.repeat(people, 10))
    once, clustered = (
        bootstrap.intervals(rows, people),
        bootstrap.intervals(ten_times, np.repeat(people, 10)),
    )
    for name, interval in flat(once).items():
        assert flat(clustered)[name] == pytest.approx(interval), name
    naive = bootstrap.intervals(ten_times, np.arange(300))
    width = lambda interval: interval[1] - interval[0]
    assert width(naive["pve_mm"]) < 0.5 * width(once["pve_mm"])


def test_one_subject_has_no_interval_and_undefined_figures_have_none(rng):
    rows = random_rows(4, rng)
    assert set(flat(bootstrap.intervals(rows, np.zeros(4))).values()) == {None}
    nobody_touches = rows.replace(touching_truth=np.zeros(4), touching_both=np.zeros(4))
    result = bootstrap.intervals(nobody_touches, np.arange(4))
    assert (
        result["touchness_ratio"] is None
        and result["f_score"] is None
        and result["non_collision_ratio"] is not None
    )


def test_the_seed_decides(rng):
    rows, people = random_rows(20, rng), np.arange(20)
    first, again, other = (bootstrap.intervals(rows, people, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other


def test_a_paired_difference_is_certain_where_the_two_intervals_overlap(rng):
    first, people = random_rows(25, rng), np.arange(25) // 2
    second = first.replace(pve=first.pve + 0.001)
    intervals = [bootstrap.intervals(rows, people)["pve_mm"] for rows in (first, second)]
    assert intervals[1][0] < intervals[0][1]
    difference = bootstrap.paired_intervals(first, second, people)
    assert difference["pve_mm"] == pytest.approx([1.0, 1.0])
    assert difference["mpjpe_mm"] == [0.0, 0.0]


def test_a_paired_difference_changes_sign_with_its_order(rng):
    first, second, people = random_rows(12, rng), random_rows(12, rng), np.arange(12) // 3
    there, back = (
        flat(bootstrap.paired_intervals(*pair, people))
        for pair in ((first, second), (second, first))
    )
    for name, interval in there.items():
        np.testing.assert_allclose(
            interval, [-x for x in back[name][::-1]], atol=1e-9, err_msg=name
        )


def test_summary_counts_people_and_pictures(rng):
    rows, people = random_rows(6, rng), np.array([1, 1, 1, 2, 2, 3])
    result = bootstrap.summarize_subjects(rows, people)
    assert (result["frames"], result["subjects"]) == (6, 3)
    assert result["intervals"]["contact"]["hand"]["f1"][0] <= result["contact"]["hand"]["f1"]
    assert jax.tree.structure(result["contact"]) == jax.tree.structure(
        summarize.figures(summarize.total(rows))["contact"]
    )
