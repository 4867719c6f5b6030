"""Charts as SVG text: histogram, precision-recall curves, values with intervals.

No plotting library is needed. Colors come from the style sheet of the page: the classes `s0`, `s1`,
... are the series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# All sizes are pixels.
_WIDTH, _HEIGHT = 520, 280  # of a chart with axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 46  # its margins
_ROW_HEIGHT = 22  # of a dot plot
_NAME_WIDTH, _VALUE_WIDTH = 150, 150  # its columns of names and numbers


class Curve(NamedTuple):
    """A precision-recall curve.

    Attributes:
        precision, recall: in [0, 1], one point for each threshold.
        marked: index of the point at the threshold in use.
        legend: text of the legend.
    """

    precision: Float[np.ndarray, "K"]
    recall: Float[np.ndarray, "K"]
    marked: int
    legend: str


class Reliability(NamedTuple):
    """A reliability diagram.

    Attributes:
        predicted, observed: of each group, in [0, 1]; NaN in an empty group.
        share: of all cases that are in the group.
        legend: text of the legend.
    """

    predicted: Float[np.ndarray, "K"]
    observed: Float[np.ndarray, "K"]
    share: Float[np.ndarray, "K"]
    legend: str


class Dot(NamedTuple):
    """A row of a dot plot.

    Attributes:
        name: of the row.
        note: shown beside the name, such as the number of samples.
        value: place of the dot.
        interval: [low, high] of the whisker; None: no whisker.
    """

    name: str
    note: str
    value: float
    interval: Sequence[float] | None


def histogram(series: Mapping[str, Float[np.ndarray, "N"]], label: str, bins: int = 40) -> str:
    """Histograms over common bins, from 0 to the largest value, with a line at each median.

    Args:
        series: non-negative values by name.
        label: of the horizontal axis.
        bins: about how many there are; their width is a round number.
    """
    top = max(float(values.max()) for values in series.values()) or 1.0
    step = _round_step(top / bins)
    edges = np.arange(0, math.ceil(top / step + 1e-9) + 1) * step
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in series.items()}
    axes = _Axes(edges[-1], max(1, *(max(one) for one in counts.values())))
    body = []
    for i, (name, values) in enumerate(series.items()):
        steps = [(edge, c) for k, c in enumerate(counts[name]) for edge in edges[k : k + 2]]
        corners = [(edges[0], 0), *steps, (edges[-1], 0)]
        body.append(_element("polygon", class_=f"area s{i}", points=axes.points(corners)))
        x = axes.x(float(np.median(values)))
        body.append(_element("line", class_=f"median s{i}", x1=x, x2=x, y1=_TOP, y2=axes.y(0.0)))
    legend = [f"{name}: median {np.median(values):.1f}" for name, values in series.items()]
    return axes.svg("".join(body), label, "samples", legend)


def precision_recall(curves: Sequence[Curve]) -> str:
    """Precision over recall, in percent."""
    axes = _Axes(100.0, 100.0)
    body = []
    for i, curve in enumerate(curves):
        points = [(100 * r, 100 * p) for r, p in zip(curve.recall, curve.precision) if r > 0]
        body.append(_element("polyline", class_=f"line s{i}", points=axes.points(points)))
        x = axes.x(100 * curve.recall[curve.marked])
        y = axes.y(100 * curve.precision[curve.marked])
        body.append(_element("circle", class_=f"dot s{i}", cx=x, cy=y, r=4.5))
    legend = [curve.legend for curve in curves]
    return axes.svg("".join(body), "recall (%)", "precision (%)", legend)


def reliability(curves: Sequence[Reliability]) -> str:
    """Observed over predicted frequency, in percent; larger dots stand for more cases."""
    axes = _Axes(100.0, 100.0)
    x1, y1, x2, y2 = axes.x(0.0), axes.y(0.0), axes.x(100.0), axes.y(100.0)
    body = [_element("line", class_="grid", x1=x1, y1=y1, x2=x2, y2=y2)]
    for i, curve in enumerate(curves):
        filled = curve.share > 0
        points = list(zip(100 * curve.predicted[filled], 100 * curve.observed[filled]))
        body.append(_element("polyline", class_=f"line s{i}", points=axes.points(points)))
        for (x, y), share in zip(points, curve.share[filled]):
            radius = 2.0 + 5.0 * float(share) ** 0.5
            cx, cy = axes.x(float(x)), axes.y(float(y))
            body.append(_element("circle", class_=f"dot s{i}", cx=cx, cy=cy, r=radius))
    legend = [curve.legend for curve in curves]
    return axes.svg("".join(body), "predicted (%)", "observed (%)", legend)


def dots(rows: Sequence[Dot], reference: float | None, unit: str) -> str:
    """A dot plot: name, dot with whiskers and number in each row, on a scale from 0.

    Args:
        rows: from top to bottom.
        reference: value of all samples together, drawn as a vertical line; None: no line.
        unit: of the values.
    """
    ends = [x for row in rows for x in (row.value, *(row.interval or ()))]
    largest = max([*ends, 1e-9] if reference is None else [*ends, reference, 1e-9])
    top = _round_step(largest / 5) * 5
    left, right = _NAME_WIDTH + 40, _WIDTH - _VALUE_WIDTH
    x = lambda value: left + (right - left) * value / top
    height = _ROW_HEIGHT * len(rows) + 10
    body = []
    if reference is not None:
        at = x(reference)
        body.append(_element("line", class_="grid", x1=at, x2=at, y1=0, y2=height))
    for i, row in enumerate(rows):
        y = _ROW_HEIGHT * (i + 0.5) + 5
        number = f"{row.value:.1f} {unit}"
        if row.interval:
            low, high = row.interval
            number += f" [{low:.1f}, {high:.1f}]"
            body.append(_element("line", class_="whisker s0", x1=x(low), x2=x(high), y1=y, y2=y))
        body += [
            _element("circle", class_="dot s0", cx=x(row.value), cy=y, r=4),
            _text(row.name, _NAME_WIDTH, y + 4, "end"),
            _text(row.note, _NAME_WIDTH + 6, y + 4, "start", class_="faint"),
            _text(number, _WIDTH, y + 4, "end", class_="faint"),
        ]
    return _svg(height, "".join(body))


class _Axes:
    """Two axes from 0 with round ticks, and a legend at the upper right."""

    def __init__(self, x_top: float, y_top: float):
        self._x_top, self._y_top = x_top, y_top

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self._x_top

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self._y_top

    def points(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def svg(self, body: str, x_label: str, y_label: str, legend: Sequence[str]) -> str:
        """The whole chart; `body` is drawn over the grid."""
        right = _WIDTH - _RIGHT
        ticks = [
            _text(f"{value:g}", self.x(value), _HEIGHT - 28, "middle", class_="faint")
            for value in _ticks(self._x_top, _round_step(self._x_top / 5))
        ]
        for value in _ticks(self._y_top, _round_step(self._y_top / 4)):
            y = self.y(value)
            ticks.append(_element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y))
            ticks.append(_text(f"{value:g}", _LEFT - 8, y + 4, "end", class_="faint"))
        turned = f"translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)"
        labels = [
            _text(x_label, (_LEFT + _WIDTH) / 2, _HEIGHT - 8, "middle"),
            _text(y_label, 0, 0, "middle", transform=turned),
        ]
        for i, words in enumerate(legend):
            y = _TOP + 14 + 18 * i
            labels.append(_text(words, right - 6, y, "end", class_=f"legend s{i}"))
        return _svg(_HEIGHT, "".join([*ticks, body, *labels]))


def _svg(height: float, body: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{body}</svg>'


def _text(words: str, x: float, y: float, anchor: str, **attributes: object) -> str:
    return _element("text", escape(words), x=x, y=y, text_anchor=anchor, **attributes)


def _element(tag: str, content: str = "", **attributes: object) -> str:
    """An SVG element. Floats are rounded to 0.1; `_` becomes `-`, and a last `_` is dropped."""
    form = lambda value: f"{value:.1f}" if isinstance(value, float) else str(value)
    pairs = (
        f'{name.rstrip("_").replace("_", "-")}="{form(value)}"'
        for name, value in attributes.items()
    )
    opening = " ".join([tag, *pairs])
    return f"<{opening}>{content}</{tag}>" if content else f"<{opening}/>"


def _round_step(step: float) -> float:
    """The smallest number of the series 1, 2, 5, 10, 20, ... that is not below `step`."""
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= step * (1 - 1e-9))


def _ticks(top: float, step: float) -> Float[np.ndarray, "K"]:
    return np.arange(0, math.floor(top / step + 1e-9) + 1) * step
