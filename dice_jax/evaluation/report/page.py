"""An evaluation as one self-contained HTML file: metrics, tables, charts, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from dice_jax.evaluation import summarize
from dice_jax.evaluation.report import charts, tables
from dice_jax.evaluation.report.cases import Case, data_uri
from dice_jax.evaluation.report.record import Record
from dice_jax.evaluation.report.style import STYLE
from dice_jax.evaluation.report.tables import Column, Table
from dice_jax.metrics import calibration, contact

_HEADLINES = (
    tables.PVE,
    tables.MPJPE,
    tables.PA_MPJPE,
    tables.F_SCORE,
    tables.FACE_F1,
    tables.HAND_F1,
)
_DIFFERENCE_NOTE = (
    "The large numbers are {other} minus {first}. Negative is better for errors (mm), positive is "
    "better for percentages. A difference is significant, given the variation between people, if "
    "its 95 % interval in brackets excludes zero."
)


def evaluation_page(record: Record, cases: Mapping[str, Sequence[Case]]) -> str:
    """The report of one evaluation.

    Args:
        record: of the evaluation.
        cases: images of samples, by the heading of their section.
    """
    rows = readable_names(record.summaries)
    model, baseline = record.summaries["model"], record.summaries["mean_prediction"]
    cards = [_card(column, model, tables.cell(baseline, column)) for column in _HEADLINES]
    parts = _tables(rows)
    return _document(
        f"Evaluation of {record.setting['weights']}",
        record.about,
        [
            _div("cards", *cards),
            _section("Meshes (table 1 of the paper)", _table(tables.mesh_table(rows))),
            _section("Contact (table 2 of the paper)", _table(tables.contact_table(rows))),
            _section("Hand and head separately, further metrics", parts),
            _section(
                "Distributions",
                _div("pair", _pve_chart({"model": record}), _contact_chart(record))
                + _div("pair", _reliability_chart(record)),
            ),
            *(_breakdown(kind, groups, model) for kind, groups in record.groups.items()),
            *_case_sections(cases),
        ],
    )


def comparison_page(
    records: Mapping[str, Record],
    differences: Mapping[str, dict[str, Any]],
    cases: Mapping[str, Sequence[Case]],
) -> str:
    """The report of several evaluations side by side.

    Args:
        records: by name; the others are compared with the first.
        differences: `comparison.difference` of the others, by name.
        cases: images of samples, by the heading of their section.
    """
    first, *others = records
    summaries = {name: record.summaries["model"] for name, record in records.items()}
    cards = [_card(column, differences[others[0]], None, sign="+") for column in _HEADLINES]
    note = _DIFFERENCE_NOTE.format(other=others[0], first=first)
    parts = _tables(summaries)
    return _document(
        f"{', '.join(others)} compared with {first}",
        " — ".join(record.about for record in records.values()),
        [
            f"<p>{escape(note)}</p>",
            _div("cards", *cards),
            _section("Runs (table 3 of the paper)", _table(tables.ablation_table(summaries))),
            _section("Differences", _table(tables.difference_table(first, differences))),
            _section("Meshes (table 1 of the paper)", _table(tables.mesh_table(summaries))),
            _section("Contact (table 2 of the paper)", _table(tables.contact_table(summaries))),
            _section("Hand and head separately, further metrics", parts),
            _section("Distributions", _div("pair", _pve_chart(dict(list(records.items())[:2])))),
            *_case_sections(cases),
        ],
    )


def readable_names(summaries: Mapping[str, Any]) -> dict[str, Any]:
    """The same summaries with spaces instead of underscores in their names."""
    return {name.replace("_", " "): summary for name, summary in summaries.items()}


def _document(title: str, about: str, sections: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="faint">{escape(about)}</p>{"".join(sections)}'
        "</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _div(css_class: str, *content: str) -> str:
    return f'<div class="{css_class}">{"".join(content)}</div>'


def _card(column: Column, summary: Mapping[str, Any], baseline: str | None, sign: str = "") -> str:
    """A metric in large type, its interval, and the mean prediction's value as the baseline."""
    value, _, interval = tables.cell(summary, column, sign).partition(" ")
    below = f"<br>mean prediction {escape(baseline.partition(' ')[0])}" if baseline else ""
    return _div(
        "card",
        f"{escape(column.heading)}<b>{escape(value)}</b>",
        f'<span class="faint">{escape(interval)}{below}</span>',
    )


def _tables(rows: Mapping[str, Any]) -> str:
    made = (tables.parts_table, tables.detail_table, tables.trust_table)
    return "".join(_table(table(rows)) for table in made)


def _table(table: Table) -> str:
    def cell(text: str) -> str:
        value, bracket, interval = text.partition(" [")
        below = f"<i>[{escape(interval)}</i>" if bracket else ""
        return f"<td>{escape(value)}{below}</td>"

    header = "".join(f"<th>{escape(text)}</th>" for text in table.header)
    rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in table.rows)
    return _div("scroll", f"<table><tr>{header}</tr>{rows}</table>")


def _figure(svg: str, caption: str) -> str:
    return f'<figure class="chart">{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def _pve_chart(records: Mapping[str, Record]) -> str:
    values = {
        name: 1e3 * np.asarray(one.samples.pve)[one.samples.frames > 0]
        for name, one in records.items()
    }
    if not all(map(len, values.values())):
        return ""
    caption = "PVE* of each sample. The dashed line is the median."
    return _figure(charts.histogram(values, "PVE* (mm)"), caption)


def _contact_chart(record: Record) -> str:
    sums = summarize.total(record.samples)
    # Thresholds fall from the lower edge of the last bin to 0.
    marked = contact.BINS - 1 - round(contact.THRESHOLD * contact.BINS)
    curves, best = [], []
    for name, histogram in (("face", sums.head_contact_scores), ("hand", sums.hand_contact_scores)):
        precision, recall = contact.precision_recall(histogram)
        if np.isnan(recall).any():
            continue
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        average = float(contact.average_precision(histogram))
        legend = f"{name}: average precision {100 * average:.1f} %"
        curves.append(charts.Curve(precision, recall, marked, legend))
        threshold = (contact.BINS - 1 - int(f1.argmax())) / contact.BINS
        best.append(f"{name} {100 * f1.max():.1f} % at {threshold:.2f}")
    if not curves:
        return ""
    caption = (
        "Contact of the vertices of all samples. The dots mark the threshold in use, "
        f"{contact.THRESHOLD}. Best F-Score over all thresholds, chosen on these same samples: "
        f"{'; '.join(best)}."
    )
    return _figure(charts.precision_recall(curves), caption)


def _reliability_chart(record: Record) -> str:
    sums = summarize.total(record.samples)
    histograms = {
        "touch": sums.presence_scores,
        "hand": sums.hand_scores,
        "vertex of the face": sums.head_contact_scores,
        "vertex of the hand": sums.hand_contact_scores,
    }
    curves = []
    for name, histogram in histograms.items():
        predicted, observed, share = calibration.reliability(histogram)
        error = float(calibration.calibration_error(histogram))
        if not np.isnan(error):
            legend = f"{name}: error {100 * error:.1f} %"
            curves.append(charts.Reliability(predicted, observed, share, legend))
    caption = (
        "Reliability: of all cases that were given a probability, how many were true. On the "
        "diagonal probabilities mean what they say; the legend has the expected calibration error."
    )
    return _figure(charts.reliability(curves), caption) if curves else ""


def _breakdown(kind: str, groups: Mapping[str, Any], overall: Mapping[str, Any]) -> str:
    def chart(column: Column) -> str:
        rows = [
            charts.Dot(
                name,
                f"n={group['frames']}",
                tables.look_up(group, column),
                tables.look_up(group["intervals"], column),
            )
            for name, group in groups.items()
            if tables.look_up(group, column) is not None
        ]
        if not rows:
            return ""
        svg = charts.dots(rows, tables.look_up(overall, column), "mm")
        return _figure(svg, f"{column.heading}. The vertical line is the value of all samples.")

    pair = _div("pair", chart(tables.PVE), chart(tables.PVE_HAND))
    return _section(f"By {kind}", pair + _table(tables.breakdown_table(kind, groups)))


def _case_sections(cases: Mapping[str, Sequence[Case]]) -> list[str]:
    def figure(case: Case) -> str:
        title = escape(case.title)
        image = f'<img alt="{title}" src="{data_uri(case.image)}">'
        caption = f"<figcaption>{escape(case.caption)}</figcaption>"
        return f"<figure><h3>{title}</h3>{image}{caption}</figure>"

    return [
        _section(heading, "".join(map(figure, members)))
        for heading, members in cases.items()
        if members
    ]
