"""Charts as SVG to stand in a page: histogram, precision-recall curves, values with intervals.
Plain text, no library.

Colors are those of the page's style sheet: classes `s0`, `s1`, ... are the series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_WIDTH, _HEIGHT = 520, 280  # of a chart with axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 46  # margins
_ROW, _NAME, _VALUE = (
    22,
    150,
    150,
)  # of a dot plot: height of a row, width of the names and of the numbers


class Curve(NamedTuple):
    """A precision-recall curve, the point at the threshold in use, and what the legend says."""

    precision: Float[np.ndarray, "K"]
    recall: Float[np.ndarray, "K"]
    marked: int
    legend: str


class Dot(NamedTuple):
    """A value with its interval (None where there is none) and a note such as the number of
    samples.
    """

    name: str
    note: str
    value: float
    interval: Sequence[float] | None


def histogram(series: Mapping[str, Float[np.ndarray, "N"]], label: str, bins: int = 40) -> str:
    """Counts of values over common bins, from 0 to the largest, with a line at each median."""
    top = max(float(values.max()) for values in series.values()) or 1.0
    step = _nice(top / bins)
    edges = np.arange(0, math.ceil(top / step + 1e-9) + 1) * step
    counts = {name: np.histogram(values, edges)[0] for name, values in series.items()}
    axes = _Axes(edges[-1], max(1, max(int(c.max()) for c in counts.values())))
    body = []
    for i, (name, values) in enumerate(series.items()):
        corners = [
            (edges[0], 0),
            *((e, c) for k, c in enumerate(counts[name]) for e in edges[k : k + 2]),
            (edges[-1], 0),
        ]
        body.append(f'<polygon class="area s{i}" points="{axes.points(corners)}"/>')
        x = axes.x(float(np.median(values)))
        body.append(
            f'<line class="median s{i}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{axes.y(0):.1f}"/>'
        )
    legend = [f"{name}: median {np.median(values):.1f}" for name, values in series.items()]
    return axes.svg("".join(body), label, "samples", legend)


def precision_recall(curves: Sequence[Curve]) -> str:
    """Precision against recall, in percent."""
    axes = _Axes(100.0, 100.0)
    body = []
    for i, curve in enumerate(curves):
        points = [(100 * r, 100 * p) for r, p in zip(curve.recall, curve.precision) if r > 0]
        body.append(f'<polyline class="line s{i}" points="{axes.points(points)}"/>')
        recall, precision = 100 * curve.recall[curve.marked], 100 * curve.precision[curve.marked]
        body.append(
            f'<circle class="dot s{i}" cx="{axes.x(recall):.1f}" cy="{axes.y(precision):.1f}" r="4.5"/>'
        )
    return axes.svg(
        "".join(body), "recall (%)", "precision (%)", [curve.legend for curve in curves]
    )


def dots(rows: Sequence[Dot], reference: float | None, unit: str) -> str:
    """A row a value: name, dot and whiskers, the number; a line at `reference`, the value of all
    together.
    """
    ends = [x for row in rows for x in (row.value, *(row.interval or ()))] + (
        [] if reference is None else [reference]
    )
    top = _nice(max(max(ends), 1e-9) / 5) * 5
    top = top if top >= max(ends) else top * 1.2
    left, right = _NAME + 40, _WIDTH - _VALUE
    x = lambda value: left + (right - left) * value / top
    height = _ROW * len(rows) + 10
    body = []
    if reference is not None:
        body.append(
            f'<line class="grid" x1="{x(reference):.1f}" x2="{x(reference):.1f}" y1="0" y2="{height}"/>'
        )
    for i, row in enumerate(rows):
        y = _ROW * (i + 0.5) + 5
        number = f"{row.value:.1f} {unit}"
        if row.interval:
            number += f" [{row.interval[0]:.1f}, {row.interval[1]:.1f}]"
            low, high = (x(end) for end in row.interval)
            body.append(
                f'<line class="whisker s0" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            )
        body.append(f'<circle class="dot s0" cx="{x(row.value):.1f}" cy="{y}" r="4"/>')
        body.append(f'<text x="{_NAME}" y="{y + 4}" text-anchor="end">{escape(row.name)}</text>')
        body.append(f'<text class="faint" x="{_NAME + 6}" y="{y + 4}">{escape(row.note)}</text>')
        body.append(
            f'<text class="faint" x="{_WIDTH}" y="{y + 4}" text-anchor="end">{number}</text>'
        )
    return _svg(height, "".join(body))


class _Axes:
    """Both axes from 0, round ticks, and a legend at the upper right."""

    def __init__(self, x_top: float, y_top: float):
        self._steps = _nice(x_top / 5), _nice(y_top / 4)
        self._tops = x_top, y_top

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self._tops[0]

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self._tops[1]

    def points(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def svg(self, body: str, x_label: str, y_label: str, legend: Sequence[str]) -> str:
        ticks = []
        for value in _ticks(self._tops[0], self._steps[0]):
            x = self.x(value)
            ticks.append(
                f'<text class="faint" x="{x:.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{value:g}</text>'
            )
        for value in _ticks(self._tops[1], self._steps[1]):
            y = self.y(value)
            ticks.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            ticks.append(
                f'<text class="faint" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        labels = (
            f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )
        for i, words in enumerate(legend):
            y = _TOP + 14 + 18 * i
            labels += f'<text class="legend s{i}" x="{_WIDTH - _RIGHT - 6}" y="{y}" text-anchor="end">{escape(words)}</text>'
        return _svg(_HEIGHT, "".join(ticks) + body + labels)


def _svg(height: float, body: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{body}</svg>'


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... that is not smaller."""
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= step * (1 - 1e-9))


def _ticks(top: float, step: float) -> Float[np.ndarray, "K"]:
    return np.arange(0, math.floor(top / step + 1e-9) + 1) * step
