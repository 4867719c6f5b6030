"""Summaries as tables, in the layout of the paper's tables 1 (meshes), 2 (contact), 3 (ablations).

Further tables hold metrics that the paper does not report. A summary with "intervals" (see
`evaluation.bootstrap`) shows them in brackets behind the values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as text; `str` gives Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        rule = ("---", *["---:"] * (len(self.header) - 1))
        lines = (f"| {' | '.join(cells)} |\n" for cells in (self.header, rule, *self.rows))
        return "".join(lines)


@dataclasses.dataclass(frozen=True)
class Column:
    """One metric.

    Attributes:
        heading: of the column.
        path: names that lead to the value in a summary.
        percent: the value is a ratio, shown in percent.
    """

    heading: str
    path: tuple[str, ...]
    percent: bool = False


def _mm(heading: str, name: str) -> Column:
    return Column(f"{heading} (mm)", (name,))


def _px(heading: str, name: str) -> Column:
    return Column(f"{heading} (px)", (name,))


def _ratio(heading: str, *path: str) -> Column:
    return Column(f"{heading} (%)", path, percent=True)


PVE = _mm("PVE*", "pve_mm")
PVE_HAND = _mm("PVE hand", "pve_hand_mm")
PVE_HEAD = _mm("PVE head", "pve_head_mm")
MPJPE = _mm("MPJPE", "mpjpe_mm")
PA_MPJPE = _mm("PA-MPJPE", "pa_mpjpe_mm")
F_SCORE = _ratio("F-Score", "f_score")
FACE_F1 = _ratio("Face F-Score", "contact", "head", "f1")
HAND_F1 = _ratio("Hand F-Score", "contact", "hand", "f1")

MESH = (
    PVE,
    MPJPE,
    PA_MPJPE,
    _mm("Col. Dist.", "collision_distance_mm"),
    _ratio("Non-Col.", "non_collision_ratio"),
    _ratio("Touchness", "touchness_ratio"),
    F_SCORE,
)
CONTACT = (
    FACE_F1,
    _ratio("Face Prec.", "contact", "head", "precision"),
    _ratio("Face Recall", "contact", "head", "recall"),
    _ratio("Face Acc.", "contact", "head", "accuracy"),
    HAND_F1,
    _ratio("Hand Prec.", "contact", "hand", "precision"),
    _ratio("Hand Recall", "contact", "hand", "recall"),
    _ratio("Hand Acc.", "contact", "hand", "accuracy"),
)
ABLATION = (PVE, MPJPE, PA_MPJPE, F_SCORE)
PARTS = (
    PVE_HAND,
    PVE_HEAD,
    _mm("PA-PVE", "pa_pve_mm"),
    _mm("PA-PVE hand", "pa_pve_hand_mm"),
    _mm("PA-PVE head", "pa_pve_head_mm"),
)
DETAIL = (
    _mm("Deform.", "deformation_error_mm"),
    _mm("Deform. > 5 mm", "deformation_error_moved_mm"),
    _px("2D", "keypoints_2d_error_px"),
    _px("2D hand", "keypoints_2d_error_hand_px"),
    _px("2D face", "keypoints_2d_error_head_px"),
    _ratio("AP face", "contact", "head", "average_precision"),
    _ratio("AP hand", "contact", "hand", "average_precision"),
)
TRUST = (
    _mm("Depth of the hand", "hand_depth_error_mm"),
    _ratio("Presence", "presence_accuracy"),
    _ratio("Presence cal.", "presence_calibration_error"),
    _ratio("Hand there", "hand_presence_accuracy"),
    _ratio("Hand there cal.", "hand_presence_calibration_error"),
    _ratio("Face contact cal.", "contact", "head", "calibration_error"),
    _ratio("Hand contact cal.", "contact", "hand", "calibration_error"),
)
BREAKDOWN = (PVE, PVE_HAND, PVE_HEAD, PA_MPJPE, F_SCORE, FACE_F1, HAND_F1)


def mesh_table(rows: Mapping[str, Summary]) -> Table:
    """Table 1 of the paper: errors of the meshes in mm, plausibility in percent.

    Args:
        rows: `summarize.summarize` by the name of the method, such as "model".
    """
    return table("", MESH, rows)


def method_table(rows: Mapping[str, Summary]) -> Table:
    """`mesh_table` with the kind of each method and its seconds for an image.

    Type: R regression, O optimization, – neither. A row without a measured time has "–".
    """
    plain = mesh_table(rows)
    seconds = lambda row, name: "–" if row.get(name) is None else f"{row[name]:.3f}"
    cells = (
        (
            name,
            str(row.get("type", "–")),
            *figures,
            seconds(row, "seconds_prediction"),
            seconds(row, "seconds_end_to_end"),
        )
        for (name, *figures), row in zip(plain.rows, rows.values())
    )
    header = ("", "Type", *plain.header[1:], "Time (s)", "end to end (s)")
    return Table(header, tuple(cells))


def contact_table(rows: Mapping[str, Summary]) -> Table:
    """Table 2 of the paper: contact of face and hand, in percent."""
    return table("", CONTACT, rows)


def ablation_table(rows: Mapping[str, Summary]) -> Table:
    """Table 3 of the paper: several trainings on one split."""
    return table("", ABLATION, rows)


def parts_table(rows: Mapping[str, Summary]) -> Table:
    """Errors of hand and head separately, with and without Procrustes alignment."""
    return table("", PARTS, rows)


def detail_table(rows: Mapping[str, Summary]) -> Table:
    """Deformations, image errors, and average precision of the contact."""
    return table("", DETAIL, rows)


def trust_table(rows: Mapping[str, Summary]) -> Table:
    """Depth and presence of the hand, presence of a touch, and expected calibration errors."""
    return table("", TRUST, rows)


def breakdown_table(kind: str, groups: Mapping[str, Summary]) -> Table:
    """One row for each group of `breakdown.summarize_groups`, with its number of samples."""
    plain = table(kind, BREAKDOWN, groups)
    rows = tuple(
        (name, str(group["frames"]), *cells)
        for (name, *cells), group in zip(plain.rows, groups.values())
    )
    return Table((kind, "samples", *plain.header[1:]), rows)


def difference_table(first: str, rows: Mapping[str, Summary]) -> Table:
    """Metrics of each run minus those of the run `first`, with paired intervals."""
    return table(f"minus {first}", (*MESH, FACE_F1, HAND_F1), rows, sign="+")


def table(
    corner: str, columns: Sequence[Column], rows: Mapping[str, Summary], sign: str = ""
) -> Table:
    """`columns` of each summary, rows in the given order.

    Args:
        corner: the cell at the top left.
        columns: metrics to show.
        rows: summaries by name.
        sign: "+" to show the sign of positive numbers.
    """
    cells = ((name, *(cell(row, column, sign) for column in columns)) for name, row in rows.items())
    return Table((corner, *(column.heading for column in columns)), tuple(cells))


def cell(summary: Summary, column: Column, sign: str = "") -> str:
    """A value with its interval, if any: "18.34 [17.27, 20.83]"; "–" where it is not defined."""
    value, interval = look_up(summary, column), look_up(summary.get("intervals"), column)
    scale, digits = (100.0, 1) if column.percent else (1.0, 2)
    form = lambda x: f"{scale * x:{sign}.{digits}f}"
    if value is None:
        return "–"
    return form(value) + (f" [{form(interval[0])}, {form(interval[1])}]" if interval else "")


def look_up(summary: Summary | None, column: Column) -> Any:
    """The entry of a column in a summary; None if there is none."""
    entry: Any = summary
    for name in column.path:
        entry = (entry or {}).get(name)
    return entry
