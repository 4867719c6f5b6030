"""Pages of random records are valid, self-contained and show the metrics of the tables."""

import json
import re
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from support.random_rows import random_rows, take

from dice_jax.errors import UserError
from dice_jax.evaluation.report import cases, comparison, page, record, tables
from dice_jax.evaluation.sample_labels import Labels

VOID = {"meta", "img", "br", "circle", "line", "polygon", "polyline"}
SETTING = {
    "weights": "a <net>",
    "data": "scenes",
    "split": "test",
    "mean_samples": 7,
    "device": "cpu",
    "devices": 2,
    "batch_size": 16,
    "dtype": "bfloat16",
    "reference_leak_filter": False,
    "reference_finger_tips": False,
}


def make_record(seed=0, count=24, **setting):
    rng = np.random.default_rng(seed)
    people = np.random.default_rng(5)
    labels = Labels(
        np.arange(count) // 2, people.choice(["wave", "hush"], count), people.random(count)
    )
    samples = {"model": random_rows(count, rng), "mean_prediction": random_rows(count, rng)}
    return record.make(SETTING | setting, samples, labels)


@pytest.fixture(scope="module")
def evaluation():
    return make_record()


class Checker(HTMLParser):
    """Asserts that elements are closed in order; collects links and text."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def check(html):
    """Asserts that a page is valid and loads nothing; returns its text."""
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    assert all(link.startswith("data:image/") for link in checker.links)
    assert not re.search(r"https?:|@import|url\(", html)
    return " ".join(checker.words)


def test_the_page_is_self_contained_and_states_the_setting(evaluation):
    case = cases.Case("Sample 3", "gesture <wave>", np.zeros((20, 30, 3), np.uint8))
    html = page.evaluation_page(evaluation, {"The worst cases": [case]})
    words = check(html)
    facts = (
        "<net> on scenes test",
        "24 samples of 12 subjects",
        "2 x cpu",
        "batch 16",
        "bfloat16",
        "1000 draws, seed 0",
    )
    for fact in facts:
        assert fact in words, fact
    for text in ("By gesture", "By skin tone", "gesture <wave>"):
        assert text in words
    assert "<net>" not in html


def test_every_cell_of_the_tables_is_in_the_page(evaluation):
    words = check(page.evaluation_page(evaluation, {}))
    for table in (
        tables.mesh_table,
        tables.contact_table,
        tables.parts_table,
        tables.detail_table,
        tables.trust_table,
    ):
        for row in table(page.readable_names(evaluation.summaries)).rows:
            for cell in row:
                value, _, interval = cell.partition(" [")
                assert value in words and interval in words


def test_metrics_without_labels_are_dashes_and_not_nan():
    rows = random_rows(6, np.random.default_rng(0))
    nothing = rows.replace(
        **{name: np.zeros_like(getattr(rows, name)) for name in ("frames", "contact_frames", "pve")}
    )
    empty = take(nothing, range(6)).replace(
        hand_contact_scores=0 * rows.hand_contact_scores,
        head_contact_scores=0 * rows.head_contact_scores,
    )
    labels = Labels(np.arange(6), np.full(6, ""), np.full(6, np.nan))
    one = record.make(SETTING, {"model": empty, "mean_prediction": empty}, labels)
    words = check(page.evaluation_page(one, {}))
    assert "–" in words and "nan" not in words.lower().split() and "By" not in words.split()


def test_a_saved_record_loads_unchanged(evaluation, tmp_path):
    record.save(evaluation, tmp_path)
    back = record.load(tmp_path)
    for name in ("about", "setting", "summaries", "groups"):
        assert getattr(back, name) == getattr(evaluation, name), name
    jax.tree.map(np.testing.assert_array_equal, back.samples, evaluation.samples)
    np.testing.assert_array_equal(back.labels.gesture, evaluation.labels.gesture)


def test_a_record_with_other_histograms_or_no_breakdown_is_one_clear_line(evaluation, tmp_path):
    record.save(evaluation, tmp_path)
    content = json.loads((tmp_path / record.METRICS_FILE).read_text())
    (tmp_path / record.METRICS_FILE).write_text(json.dumps(content | {"breakdown": []}))
    with pytest.raises(UserError, match=r"evaluate again .*breakdown"):
        record.load(tmp_path)
    (tmp_path / record.METRICS_FILE).write_text(json.dumps(content))
    arrays = dict(np.load(tmp_path / record.SAMPLES_FILE))
    flat = {"hand_scores": arrays["hand_scores"][:, :, 0]}
    np.savez(tmp_path / record.SAMPLES_FILE, **arrays | flat)
    with pytest.raises(UserError, match="hand_scores") as error:
        record.load(tmp_path)
    assert "\n" not in str(error.value)


def test_the_comparison_page_has_a_row_for_each_run_and_the_differences(evaluation):
    runs = {"first": evaluation, "second": make_record(1), "third": make_record(2)}
    differences = {
        name: comparison.difference(evaluation, runs[name]) for name in ("second", "third")
    }
    html = page.comparison_page(runs, differences, {})
    words = check(html)
    expected = runs["second"].summaries["model"]["pve_mm"] - evaluation.summaries["model"]["pve_mm"]
    assert f"{expected:+.2f}" in words and "minus first" in words
    assert len(re.findall(r"<td>third</td>", html)) == 7  # in every table


def test_evaluations_of_different_subjects_are_not_compared(evaluation):
    other = make_record(1)
    other.labels.subject[0] = 99
    with pytest.raises(UserError, match="measured on different subjects"):
        record.check_comparable({"a": evaluation, "b": other})


def test_runs_are_named_by_the_shortest_path_endings_that_differ():
    assert comparison.short_names(["runs/a/test", "runs/b/test"]) == ["a/test", "b/test"]
    assert comparison.short_names(["default", "/x/y/run"]) == ["default", "run"]
    assert comparison.short_names(["a", "a/", "b"]) == ["a", "a/", "b"]
