"""Summaries as tables, in the layout of the paper's tables 1 (meshes), 2 (contact) and 3
(ablations), and beyond.

Where a summary has "intervals" (see `metrics.bootstrap`), they stand behind the figures in
brackets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as text; `str` is Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        rule = ("---", *["---:"] * (len(self.header) - 1))
        return (
            "\n".join("| " + " | ".join(cells) + " |" for cells in (self.header, rule, *self.rows))
            + "\n"
        )


@dataclasses.dataclass(frozen=True)
class Column:
    """One figure: its heading, where it stands in a summary, whether it is a ratio told in percent."""

    heading: str
    path: tuple[str, ...]
    percent: bool = False


def _mm(heading: str, name: str) -> Column:
    return Column(f"{heading} (mm)", (name,))


def _ratio(heading: str, *path: str) -> Column:
    return Column(f"{heading} (%)", path, percent=True)


PVE, MPJPE, PA_MPJPE = (
    _mm("PVE*", "pve_mm"),
    _mm("MPJPE", "mpjpe_mm"),
    _mm("PA-MPJPE", "pa_mpjpe_mm"),
)
F_SCORE = _ratio("F-Score", "f_score")
FACE_F1, HAND_F1 = (
    _ratio("Face F-Score", "contact", "head", "f1"),
    _ratio("Hand F-Score", "contact", "hand", "f1"),
)
MESH = (
    PVE,
    MPJPE,
    PA_MPJPE,
    _mm("Col. Dist.", "collision_distance_mm"),
    _ratio("Non-Col.", "non_collision_ratio"),
    _ratio("Touchness", "touchness_ratio"),
    F_SCORE,
)
CONTACT = tuple(
    _ratio(f"{part_label} {label}", "contact", part, name)
    for part_label, part in (("Face", "head"), ("Hand", "hand"))
    for label, name in (
        ("F-Score", "f1"),
        ("Prec.", "precision"),
        ("Recall", "recall"),
        ("Acc.", "accuracy"),
    )
)
ABLATION = (PVE, MPJPE, PA_MPJPE, F_SCORE)
PARTS = (
    _mm("PVE hand", "pve_hand_mm"),
    _mm("PVE head", "pve_head_mm"),
    _mm("PA-PVE", "pa_pve_mm"),
    _mm("PA-PVE hand", "pa_pve_hand_mm"),
    _mm("PA-PVE head", "pa_pve_head_mm"),
)
DETAIL = (
    _mm("Deform.", "deformation_error_mm"),
    _mm("Deform. > 5 mm", "deformation_error_moved_mm"),
    Column("2D (px)", ("keypoints_2d_error_px",)),
    Column("2D hand (px)", ("keypoints_2d_error_hand_px",)),
    Column("2D face (px)", ("keypoints_2d_error_head_px",)),
    _ratio("Presence", "presence_accuracy"),
    _ratio("AP face", "contact", "head", "average_precision"),
    _ratio("AP hand", "contact", "hand", "average_precision"),
)
BREAKDOWN = (PVE, PARTS[0], PARTS[1], PA_MPJPE, F_SCORE, FACE_F1, HAND_F1)


def mesh_table(rows: Mapping[str, Summary]) -> Table:
    """Table 1: errors in mm, plausibility ratios in percent.

    Args:
        rows: name of a method (such as "model" or "mean prediction") and its
            `accumulate.summarize`.
    """
    return table("", MESH, rows)


def contact_table(rows: Mapping[str, Summary]) -> Table:
    """Table 2: contact of the face and of the hand, in percent."""
    return table("", CONTACT, rows)


def ablation_table(rows: Mapping[str, Summary]) -> Table:
    """Table 3: several trainings on one split."""
    return table("", ABLATION, rows)


def parts_table(rows: Mapping[str, Summary]) -> Table:
    """Each part apart, and its shape and pose without its place, which the paper's figures hide."""
    return table("", PARTS, rows)


def detail_table(rows: Mapping[str, Summary]) -> Table:
    """What else the paper does not tabulate: deformations, image, contact presence, contact without
    a threshold.
    """
    return table("", DETAIL, rows)


def breakdown_table(kind: str, groups: Mapping[str, Summary]) -> Table:
    """One row a group of `breakdown.summarize_groups`, with the number of samples in it."""
    figures = table(kind, BREAKDOWN, groups)
    rows = (
        (row[0], str(group["frames"]), *row[1:])
        for row, group in zip(figures.rows, groups.values())
    )
    return Table((kind, "samples", *figures.header[1:]), tuple(rows))


def difference_table(first: str, rows: Mapping[str, Summary]) -> Table:
    """What each row's figures are above those of the run `first`, with the intervals of the paired
    difference.
    """
    return table(f"minus {first}", (*MESH, FACE_F1, HAND_F1), rows, sign="+")


def table(
    corner: str, columns: Sequence[Column], rows: Mapping[str, Summary], sign: str = ""
) -> Table:
    """`columns` of every summary, rows in the given order."""
    cells = ((name, *(cell(row, column, sign) for column in columns)) for name, row in rows.items())
    return Table((corner, *(column.heading for column in columns)), tuple(cells))


def cell(summary: Summary, column: Column, sign: str = "") -> str:
    """A figure and, where there is one, its interval: "18.34 [17.27, 20.83]"; "–" where it is not
    defined.
    """
    value, interval = look_up(summary, column), look_up(summary.get("intervals", {}), column)
    form = lambda x: f"{100.0 * x if column.percent else x:{sign}.{1 if column.percent else 2}f}"
    if value is None:
        return "–"
    return form(value) + (f" [{form(interval[0])}, {form(interval[1])}]" if interval else "")


def look_up(summary: Summary, column: Column) -> Any:
    """The entry of a column; None where there is none."""
    for name in column.path:
        summary = (summary or {}).get(name)
    return summary
