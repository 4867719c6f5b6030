"""Tables 1, 2 and 3 of the paper from measured rows, and apart from them the published figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dice_jax.evaluation.report import tables
from dice_jax.evaluation.report.tables import Table

# Rows of `dice_jax.tools.run_ablations` by their folder.
TITLES = {
    "full": "DICE",
    "single_branch": "DICE, single branch",
    "no_in_the_wild": "DICE without in-the-wild data",
    "no_rough": "DICE without supervision on V_F', V_H'",
    "no_depth": "DICE without L_depth",
    "no_params": "DICE without L_params",
    "no_adversarial": "DICE without L_adv",
    "metro": "METRO*",
    "fastmetro": "FastMETRO*",
    "pixie_r": "PIXIE-R",
}
BASELINES = ("metro", "fastmetro", "pixie_r")
# Further rows of the evaluation of "full".
_FITS = {
    "model_fit_keypoints_benchmark": "Benchmark",
    "model_fit_keypoints": "Decaf-style",
    "model_fit_keypoints_pixie": "PIXIE (hand+face)-style",
}
_KNOWN = {"model", "mean_prediction", *_FITS}
PUBLISHED_NOTE = (
    "Published on Decaf (arXiv 2406.17988, Tables 1 to 3; seconds on an A6000). Other data and "
    "other hardware than above: not to be compared with the measured rows."
)
_PUBLISHED_1 = (
    ("Decaf", "O", "9.65", "–", "–", "1.03", "83.6", "96.6", "89.6", "19.59"),
    ("Benchmark", "O", "17.7", "–", "–", "19.3", "64.2", "73.2", "68.4", "16.40"),
    ("PIXIE (hand+face)", "O", "26.3", "–", "–", "7.04", "75.9", "75.1", "75.5", "–"),
    ("PIXIE (whole-body)", "R", "39.7", "–", "–", "0.11", "97.1", "51.8", "67.6", "0.070"),
    ("PIXIE-R", "R", "11.0", "22.0", "21.2", "0.27", "62.6", "83.0", "72.0", "0.070"),
    ("METRO* (hand+face)", "R", "11.8", "15.4", "11.9", "0.08", "80.7", "54.8", "65.2", "0.103"),
    ("FastMETRO*", "R", "9.27", "11.8", "9.41", "0.09", "82.2", "55.5", "66.2", "0.110"),
    ("DICE", "R", "8.32", "9.95", "7.27", "0.16", "66.6", "79.9", "72.7", "0.088"),
)
_PUBLISHED_2 = (
    ("Decaf", "57", "69", "49", "99", "47", "62", "39", "98"),
    ("DICE", "61", "64", "57", "100", "50", "55", "45", "98"),
)
_PUBLISHED_3 = (
    ("single_branch", "9.29", "11.6", "8.51", "69.3"),
    ("no_in_the_wild", "8.93", "11.0", "7.50", "73.3"),
    ("no_rough", "12.2", "14.4", "11.1", "70.7"),
    ("no_depth", "15.6", "19.5", "13.7", "64.2"),
    ("no_params", "10.3", "12.8", "10.4", "64.7"),
    ("no_adversarial", "11.1", "14.2", "10.4", "69.8"),
    ("full", "8.32", "9.95", "7.27", "72.7"),
)


def measured(records: Mapping[str, Mapping[str, Any]]) -> tuple[Table, Table, Table]:
    """Tables 1, 2 and 3 of measured rows.

    Args:
        records: for each row of `TITLES`, the summaries of its evaluation by method.
    """
    first: dict[str, Any] = {}
    full = records.get("full", {})
    first |= {title: full[name] for name, title in _FITS.items() if name in full}
    first |= {TITLES[row]: records[row]["model"] for row in BASELINES if row in records}
    if full:
        first["DICE"] = full["model"]
    for name, summary in full.items():
        if name not in _KNOWN and not name.startswith("model"):
            first[name] = summary
    any_record = next(iter(records.values()), {})
    if "mean_prediction" in any_record:
        first["mean prediction"] = any_record["mean_prediction"]
    third = {
        TITLES[row]: records[row]["model"]
        for row in TITLES
        if row in records and row not in BASELINES
    }
    second = {name: summary for name, summary in first.items() if "contact" in summary}
    return tables.method_table(first), tables.contact_table(second), tables.ablation_table(third)


def published() -> tuple[Table, Table, Table]:
    """The same tables with the figures of the paper."""
    headings = lambda columns: tuple(column.heading for column in columns)
    third = tuple((TITLES[row], *figures) for row, *figures in _PUBLISHED_3)
    return (
        Table(("", "Type", *headings(tables.MESH), "Time (s)"), _PUBLISHED_1),
        Table(("", *headings(tables.CONTACT)), _PUBLISHED_2),
        Table(("", *headings(tables.ABLATION)), third),
    )


def document(about: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    """All six tables, Markdown: the measured ones, and set apart the published ones."""
    names = ("Table 1: reconstruction", "Table 2: contact", "Table 3: ablations")
    with_titles = lambda made: [f"{name}\n\n{one}" for name, one in zip(names, made)]
    return "\n".join(
        [
            "# Measured\n",
            about + "\n",
            *with_titles(measured(records)),
            "# Published on Decaf\n",
            PUBLISHED_NOTE + "\n",
            *with_titles(published()),
        ]
    )
