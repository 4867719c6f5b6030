"""Summaries as Markdown, in the layout of the paper's tables 1 (meshes) and 2 (contact)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Summary = Mapping[str, Any]


def mesh_table(rows: Mapping[str, Summary]) -> str:
  """Table 1: errors in mm, plausibility ratios in percent.

  Args:
    rows: name of a method (such as "model" or "mean prediction") and its `accumulate.summarise`.
  """
  header = ["", "PVE* (mm)", "MPJPE (mm)", "PA-MPJPE (mm)", "Col. Dist. (mm)", "Non-Col. (%)", "Touchness (%)",
            "F-Score (%)"]  # fmt: skip
  return _markdown(header, [
    [
      name,
      *(_number(row[key]) for key in ("pve_mm", "mpjpe_mm", "pa_mpjpe_mm", "collision_distance_mm")),
      *(_number(row[key], percent=True, digits=1) for key in ("non_collision_ratio", "touchness_ratio", "f_score")),
    ]
    for name, row in rows.items()
  ])  # fmt: skip


def contact_table(rows: Mapping[str, Summary]) -> str:
  """Table 2: contact of the face and of the hand, in percent."""
  columns = [(part, key) for part in ("head", "hand") for key in ("f1", "precision", "recall", "accuracy")]
  labels = {"head": "Face", "hand": "Hand", "f1": "F-Score", "precision": "Prec.", "recall": "Recall",
            "accuracy": "Acc."}  # fmt: skip
  header = ["(%)"] + [f"{labels[part]} {labels[key]}" for part, key in columns]
  return _markdown(header, [
    [name, *(_number(row["contact"][part][key], percent=True, digits=1) for part, key in columns)]
    for name, row in rows.items()
  ])  # fmt: skip


def detail_table(rows: Mapping[str, Summary]) -> str:
  """What the paper does not tabulate: each part apart, deformations, image, contact presence."""
  header = ["", "PVE hand (mm)", "PVE head (mm)", "Deform. (mm)", "Deform. > 5 mm (mm)", "2D (px)", "Presence (%)",
            "AP face (%)", "AP hand (%)"]  # fmt: skip
  keys = ("pve_hand_mm", "pve_head_mm", "deformation_error_mm", "deformation_error_moved_mm", "keypoints_2d_error_px")
  return _markdown(header, [
    [
      name,
      *(_number(row[key]) for key in keys),
      _number(row["presence_accuracy"], percent=True, digits=1),
      *(_number(row["contact"][part]["average_precision"], percent=True, digits=1) for part in ("head", "hand")),
    ]
    for name, row in rows.items()
  ])  # fmt: skip


def _number(value: float | None, *, percent: bool = False, digits: int = 2) -> str:
  return "–" if value is None else f"{100.0 * value if percent else value:.{digits}f}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
  lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] + ["---:"] * (len(header) - 1), *rows]]
  return "\n".join(lines) + "\n"
