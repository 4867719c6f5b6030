import jax
import numpy as np
import pytest
from support.metric_oracles import flat
from support.random_rows import random_rows, take

from dice_jax.evaluation import bootstrap, summarize


def test_intervals_are_percentiles_over_data_sets_of_drawn_subjects(rng):
    """Each drawn data set holds all images of a subject as often as the subject was drawn."""
    rows, subjects = random_rows(9, rng), np.array([7, 7, 2, 2, 2, 5, 9, 9, 4])
    names = np.unique(subjects)
    draws = np.random.default_rng(3).multinomial(5, np.full(5, 1 / 5), 50)
    summaries = []
    for times in draws:
        members = [np.flatnonzero(subjects == name) for name in np.repeat(names, times)]
        drawn = take(rows, np.concatenate(members))
        summaries.append(flat(summarize.summarize(summarize.total(drawn))))
    result = flat(bootstrap.intervals(rows, subjects, resamples=50, seed=3))
    for name, interval in result.items():
        values = [summary[name] for summary in summaries if summary[name] is not None]
        expected = np.percentile(values, [2.5, 97.5])
        np.testing.assert_allclose(interval, expected, rtol=1e-9, err_msg=name)


def test_the_interval_of_a_mean_is_1_96_standard_errors_wide_on_each_side(rng):
    rows = random_rows(400, rng)
    low, high = bootstrap.intervals(rows, np.arange(400))["pve_mm"]
    error = 1000 * rows.pve.std(ddof=1) / np.sqrt(400)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (low + high) / 2 == pytest.approx(1000 * rows.pve.mean(), abs=0.2 * error)


def test_more_images_of_the_same_subjects_do_not_narrow_the_intervals(rng):
    rows, people = random_rows(30, rng), np.arange(30)
    ten_times = take(rows, np.repeat(people, 10))
    once = bootstrap.intervals(rows, people)
    clustered = bootstrap.intervals(ten_times, np.repeat(people, 10))
    for name, interval in flat(once).items():
        assert flat(clustered)[name] == pytest.approx(interval), name
    naive = bootstrap.intervals(ten_times, np.arange(300))
    width = lambda interval: interval[1] - interval[0]
    assert width(naive["pve_mm"]) < 0.5 * width(once["pve_mm"])


def test_one_subject_or_an_undefined_metric_has_no_interval(rng):
    rows = random_rows(4, rng)
    assert set(flat(bootstrap.intervals(rows, np.zeros(4, int))).values()) == {None}
    nobody_touches = rows.replace(touching_truth=np.zeros(4), touching_both=np.zeros(4))
    result = bootstrap.intervals(nobody_touches, np.arange(4))
    assert result["touchness_ratio"] is None and result["f_score"] is None
    assert result["non_collision_ratio"] is not None


def test_intervals_depend_on_the_seed_only(rng):
    rows, people = random_rows(20, rng), np.arange(20)
    first, again, other = (bootstrap.intervals(rows, people, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other


def test_a_paired_difference_is_significant_although_the_two_intervals_overlap(rng):
    first, people = random_rows(25, rng), np.arange(25) // 2
    second = first.replace(pve=first.pve + 0.001)
    intervals = [bootstrap.intervals(rows, people)["pve_mm"] for rows in (first, second)]
    assert intervals[1][0] < intervals[0][1]
    difference = bootstrap.paired_intervals(first, second, people)
    assert difference["pve_mm"] == pytest.approx([1.0, 1.0])
    assert difference["mpjpe_mm"] == [0.0, 0.0]


def test_a_paired_difference_changes_its_sign_with_the_order(rng):
    first, second, people = random_rows(12, rng), random_rows(12, rng), np.arange(12) // 3
    forward = flat(bootstrap.paired_intervals(first, second, people))
    backward = flat(bootstrap.paired_intervals(second, first, people))
    for name, (low, high) in forward.items():
        np.testing.assert_allclose([-high, -low], backward[name], atol=1e-9, err_msg=name)


def test_the_summary_counts_subjects_and_images(rng):
    rows, people = random_rows(6, rng), np.array([1, 1, 1, 2, 2, 3])
    result = bootstrap.summarize_subjects(rows, people)
    assert (result["frames"], result["subjects"]) == (6, 3)
    assert result["intervals"]["contact"]["hand"]["f1"][0] <= result["contact"]["hand"]["f1"]
    values = summarize.metric_values(summarize.total(rows))
    assert jax.tree.structure(result["contact"]) == jax.tree.structure(values["contact"])
