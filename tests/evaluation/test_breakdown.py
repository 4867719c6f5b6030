import numpy as np
import pytest
from support.random_rows import random_rows

from dice_jax.evaluation import breakdown, summarize


@pytest.fixture
def rows(rng):
    return random_rows(8, rng)


MONK = np.array([1, 3, 4, 5, 7, 8, 10, 10])  # tones on the Monk scale
TONES = (MONK - 1) / 9
GESTURES = np.array(["wave", "hush", "wave", "hush", "point", "wave", "hush", "hush"])


def test_skin_tones_are_grouped_on_the_monk_scale(rows):
    groups = breakdown.groups(rows, GESTURES, TONES)["skin tone"]
    members = [list(np.flatnonzero(mask)) for mask in groups.values()]
    assert members == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert [name.split(",")[0] for name in groups] == ["light", "medium", "dark"]


def test_every_sample_is_in_one_group_of_each_kind(rows):
    for kind, groups in breakdown.groups(rows, GESTURES, TONES).items():
        np.testing.assert_array_equal(np.sum(list(groups.values()), axis=0), 1, err_msg=kind)


def test_a_sample_touches_if_a_vertex_of_either_part_is_labeled_as_contact(rows):
    nothing = np.zeros(8)
    clear = lambda counts: counts.replace(
        true_positive=nothing.copy(), false_negative=nothing.copy()
    )
    hand, head = clear(rows.hand_contact), clear(rows.head_contact)
    hand.true_positive[1], head.false_negative[4] = 3, 1
    labeled = np.array([1.0, 1, 1, 1, 1, 1, 0, 0])
    groups = breakdown.groups(
        rows.replace(hand_contact=hand, head_contact=head, contact_frames=labeled), GESTURES, TONES
    )["touch"]
    assert list(np.flatnonzero(groups["touching"])) == [1, 4]
    assert list(np.flatnonzero(groups["not touching"])) == [0, 2, 3, 5]


def test_kinds_without_labels_are_left_out(rows):
    unknown = breakdown.groups(rows, np.full(8, ""), np.full(8, np.nan))
    assert set(unknown) == {"touch"}


def test_the_mean_over_groups_weighted_by_size_is_the_mean_over_all(rows):
    kinds = breakdown.groups(rows, GESTURES, TONES)
    whole = summarize.summarize(summarize.total(rows))
    for groups in breakdown.summarize_groups(rows, np.arange(8), kinds).values():
        parts = [(group["frames"], group["pve_mm"]) for group in groups.values()]
        assert sum(n for n, _ in parts) == 8
        assert sum(n * value for n, value in parts) / 8 == pytest.approx(whole["pve_mm"])
