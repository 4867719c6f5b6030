"""The paper's tables: which measured rows they have, and that published figures stay apart."""

import numpy as np
import pytest
from support import micro_run

from dice_jax.evaluation import timing
from dice_jax.evaluation.report import paper_tables

SCORES = dict.fromkeys(("f1", "precision", "recall", "accuracy"), 0.5)


def summary(pve, **fields):
    return {"pve_mm": pve, "contact": {"hand": SCORES, "head": SCORES}, "type": "R"} | fields


def records():
    """Evaluations of an ablation run, with a PVE* of its own for each row."""
    full = {
        "model": summary(1.25, seconds_prediction=0.0625, seconds_end_to_end=0.125),
        "model_fit_keypoints": summary(2.25, type="O"),
        "model_fit_keypoints_benchmark": summary(3.25, type="O"),
        "model_keypoints": summary(99.25),
        "Decaf release": {"pve_mm": 4.25, "type": "–"},
        "mean_prediction": summary(5.25, type="–"),
    }
    others = {"metro": 6.25, "fastmetro": 7.25, "pixie_r": 8.25, "no_depth": 9.25}
    return {"full": full} | {row: {"model": summary(pve)} for row, pve in others.items()}


def rows_of(table):
    return {name: dict(zip(table.header[1:], cells)) for name, *cells in table.rows}


def test_table_1_has_the_methods_of_the_paper_with_kind_and_time():
    table = rows_of(paper_tables.measured(records())[0])
    expected = {
        "Benchmark": ("O", "3.25"),
        "Decaf-style": ("O", "2.25"),
        "METRO*": ("R", "6.25"),
        "FastMETRO*": ("R", "7.25"),
        "PIXIE-R": ("R", "8.25"),
        "DICE": ("R", "1.25"),
        "Decaf release": ("–", "4.25"),
        "mean prediction": ("–", "5.25"),
    }
    assert {name: (row["Type"], row["PVE* (mm)"]) for name, row in table.items()} == expected
    assert (table["DICE"]["Time (s)"], table["DICE"]["end to end (s)"]) == ("0.062", "0.125")
    assert table["METRO*"]["Time (s)"] == "–"


def test_the_other_tables_have_contacts_and_ablations():
    _, contact, ablation = paper_tables.measured(records())
    assert "Decaf release" not in rows_of(contact) and "DICE" in rows_of(contact)
    assert set(rows_of(ablation)) == {"DICE", "DICE without L_depth"}


def test_published_figures_are_never_among_the_measured_ones():
    text = paper_tables.document("about", records())
    measured, published = text.split("# Published on Decaf")
    assert "8.32" not in measured and "19.59" not in measured
    assert "8.32" in published and paper_tables.PUBLISHED_NOTE in published
    for made, given in zip(paper_tables.measured(records()), paper_tables.published()):
        assert set(given.header) <= set(made.header)
        assert all(len(row) == len(given.header) for row in given.rows)


def test_times_are_of_one_image_and_end_to_end_includes_reading():
    source, calls = [micro_run.sample(0)], []

    def predict(batch):
        calls.append(len(batch.images))
        return np.zeros(3)

    times = timing.seconds_per_image(predict, source)
    assert len(set(calls)) == 1 and len(calls) > 4
    assert times["seconds_end_to_end"] > times["seconds_prediction"] > 0


@pytest.mark.parametrize("table", paper_tables.published())
def test_published_tables_are_complete(table):
    assert table.rows and all(cell for row in table.rows for cell in row)
