"""An evaluation as one HTML file that needs no other: figures, tables, charts, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from dice_jax.evaluation import summarize
from dice_jax.evaluation.report import charts, tables
from dice_jax.evaluation.report.cases import Case, data_uri
from dice_jax.evaluation.report.record import Record
from dice_jax.evaluation.report.tables import Column, Table
from dice_jax.metrics import contact

_HEADLINES = (
    tables.PVE,
    tables.MPJPE,
    tables.PA_MPJPE,
    tables.F_SCORE,
    tables.FACE_F1,
    tables.HAND_F1,
)
_PARTS = {"face": "head", "hand": "hand"}
_STYLE = """
:root { --s0: #2563a8; --s1: #c2571a; --ink: #22252b; --faint: #6b7078; --line: #e3e5e9; --paper: #fafafb; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 42px 0 10px; }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 6px 0; max-width: 78ch; } .faint, figcaption { color: var(--faint); font-size: 13px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 22px 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
.card b { display: block; font-size: 25px; font-weight: 600; line-height: 1.25; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 10px; margin: 10px 0; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; }
th { white-space: normal; color: var(--faint); font-weight: 500; }
th:first-child, td:first-child { text-align: left; } tr + tr td { border-top: 1px solid var(--line); }
td i { color: var(--faint); font-style: normal; font-size: 12px; display: block; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 16px; }
figure { margin: 14px 0; }
figure img { width: 100%; border-radius: 8px; border: 1px solid var(--line); display: block; }
.chart { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 12px; margin: 0; }
svg { width: 100%; height: auto; font-size: 12px; fill: var(--ink); }
svg .faint { fill: var(--faint); font-size: 11px; }
svg .grid { stroke: var(--line); }
.line { fill: none; stroke-width: 2; }
.area { opacity: .5; } .median { stroke-width: 1.5; stroke-dasharray: 4 3; }
.whisker { stroke-width: 2; opacity: .45; } svg .legend { font-weight: 600; }
.area.s0, .dot.s0, .legend.s0 { fill: var(--s0); } .area.s1, .dot.s1, .legend.s1 { fill: var(--s1); }
.line.s0, .median.s0, .whisker.s0 { stroke: var(--s0); } .line.s1, .median.s1, .whisker.s1 { stroke: var(--s1); }
"""


def evaluation_page(record: Record, cases: Mapping[str, Sequence[Case]]) -> str:
    """The report of one evaluation.

    Args:
        record: what was measured.
        cases: pictures by the heading of their section.
    """
    rows = titled(record.summaries)
    model, baseline = record.summaries["model"], record.summaries["mean_prediction"]
    cards = "".join(_card(column, model, tables.cell(baseline, column)) for column in _HEADLINES)
    return _document(
        f"Evaluation of {record.setting['weights']}",
        record.about,
        [
            f'<div class="cards">{cards}</div>',
            _section("Meshes (the paper's table 1)", _table(tables.mesh_table(rows))),
            _section("Contact (table 2)", _table(tables.contact_table(rows))),
            _section(
                "Each part apart, and the rest",
                _table(tables.parts_table(rows)) + _table(tables.detail_table(rows)),
            ),
            _section(
                "Distributions",
                f'<div class="pair">{_pve_chart({"model": record})}{_contact_chart(record)}</div>',
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
        records: by name; the first is what the others are compared with.
        differences: of the others, by name: `accumulate.figures` minus those of the first, with
            their "intervals".
        cases: pictures by the heading of their section.
    """
    first, *others = records
    summaries = {name: record.summaries["model"] for name, record in records.items()}
    cards = "".join(_card(column, differences[others[0]], None, sign="+") for column in _HEADLINES)
    return _document(
        f"{' against '.join([', '.join(others), first])}",
        " — ".join(record.about for record in records.values()),
        [
            f"<p>{escape(others[0])} minus {escape(first)}; less is better for lengths, more for percentages. An interval "
            f'without zero is a difference that other people would show, too.</p><div class="cards">{cards}</div>',
            _section("Runs (the paper's table 3)", _table(tables.ablation_table(summaries))),
            _section("Differences", _table(tables.difference_table(first, differences))),
            _section("Meshes (table 1)", _table(tables.mesh_table(summaries))),
            _section("Contact (table 2)", _table(tables.contact_table(summaries))),
            _section(
                "Each part apart",
                _table(tables.parts_table(summaries)) + _table(tables.detail_table(summaries)),
            ),
            _section(
                "Distributions",
                f'<div class="pair">{_pve_chart(dict(list(records.items())[:2]))}</div>',
            ),
            *_case_sections(cases),
        ],
    )


def titled(summaries: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of a table under readable names."""
    return {name.replace("_", " "): summary for name, summary in summaries.items()}


def _document(title: str, about: str, sections: Sequence[str]) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    opening = f'<h1>{escape(title)}</h1><p class="faint">{escape(about)}</p>'
    body = f"<main>{opening}{''.join(sections)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _card(column: Column, summary: Mapping[str, Any], baseline: str | None, sign: str = "") -> str:
    value, _, interval = tables.cell(summary, column, sign).partition(" ")
    below = f"<br>mean prediction {escape(baseline.partition(' ')[0])}" if baseline else ""
    return (
        f'<div class="card">{escape(column.heading)}<b>{escape(value)}</b>'
        f'<span class="faint">{escape(interval)}{below}</span></div>'
    )


def _table(table: Table) -> str:
    def cell(text):
        value, bracket, interval = text.partition(" [")
        return f"<td>{escape(value)}" + (f"<i>[{escape(interval)}</i>" if bracket else "") + "</td>"

    header = "".join(f"<th>{escape(text)}</th>" for text in table.header)
    rows = "".join(f"<tr>{''.join(cell(text) for text in row)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><tr>{header}</tr>{rows}</table></div>'


def _figure(svg: str, caption: str) -> str:
    return f'<figure class="chart">{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def _pve_chart(records: Mapping[str, Record]) -> str:
    values = {
        name: 1e3 * np.asarray(one.samples.pve)[one.samples.frames > 0]
        for name, one in records.items()
    }
    if not all(map(len, values.values())):
        return ""
    return _figure(
        charts.histogram(values, "PVE* (mm)"), "PVE* of each sample; the dashed line is the median."
    )


def _contact_chart(record: Record) -> str:
    sums = summarize.total(record.samples)
    # Thresholds fall from the last bin's lower edge to 0.
    marked = contact.BINS - 1 - round(contact.THRESHOLD * contact.BINS)
    curves, best = [], []
    for label, part in _PARTS.items():
        precision, recall = contact.precision_recall(getattr(sums, f"{part}_contact_scores"))
        if np.isnan(recall).any():
            continue
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        average = float(np.sum(precision * np.diff(recall, prepend=0.0)))
        curves.append(
            charts.Curve(
                precision, recall, marked, f"{label}: average precision {100 * average:.1f} %"
            )
        )
        threshold = (contact.BINS - 1 - int(f1.argmax())) / contact.BINS
        best.append(f"{label} {100 * f1.max():.1f} % at {threshold:.2f}")
    if not curves:
        return ""
    caption = (
        f"Contact, all vertices pooled. Dots: the threshold in use, {contact.THRESHOLD}. Best F-Score over all thresholds, "
        f"chosen on these samples: {'; '.join(best)}."
    )
    return _figure(charts.precision_recall(curves), caption)


def _breakdown(kind: str, groups: Mapping[str, Any], overall: Mapping[str, Any]) -> str:
    def chart(column, unit):
        rows = []
        for name, group in groups.items():
            value, interval = (tables.look_up(x, column) for x in (group, group["intervals"]))
            if value is not None:
                rows.append(charts.Dot(name, f"n={group['frames']}", value, interval))
        return (
            _figure(charts.dots(rows, tables.look_up(overall, column), unit), column.heading)
            if rows
            else ""
        )

    pair = f'<div class="pair">{chart(tables.PVE, "mm")}{chart(tables.PARTS[0], "mm")}</div>'
    return _section(f"By {kind}", pair + _table(tables.breakdown_table(kind, groups)))


def _case_sections(cases: Mapping[str, Sequence[Case]]) -> list[str]:
    sections = []
    for heading, members in cases.items():
        if not members:
            continue
        figures = (
            f'<figure><h3>{escape(case.title)}</h3><img alt="{escape(case.title)}" src="{data_uri(case.picture)}">'
            f"<figcaption>{escape(case.caption)}</figcaption></figure>"
            for case in members
        )
        sections.append(_section(heading, "".join(figures)))
    return sections
