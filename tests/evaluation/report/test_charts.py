import re
from xml.etree import ElementTree

import numpy as np
import pytest

from dice_jax.evaluation.report import charts


def parse(svg):
    return ElementTree.fromstring(svg)


def points(svg, kind):
    return [
        np.array([[float(x) for x in pair.split(",")] for pair in element.get("points").split()])
        for element in parse(svg).iter(kind)
    ]


def test_histogram_areas_are_proportional_to_the_counts(rng):
    values = {"a": rng.gamma(4, 5, 500), "b": rng.gamma(4, 5, 250)}
    areas = []
    for corners in points(charts.histogram(values, "mm"), "polygon"):
        x, y = corners.T
        areas.append(np.sum(np.diff(x) * (y.max() - (y[1:] + y[:-1]) / 2)))
    assert areas[0] / areas[1] == pytest.approx(2, rel=0.01)


def test_a_histogram_of_equal_values_or_zeros_has_finite_coordinates():
    for values in (np.full(5, 3.0), np.zeros(4)):
        assert np.isfinite(points(charts.histogram({"a": values}, "mm"), "polygon")[0]).all()


def test_a_curve_from_1_to_0_runs_across_the_axes_and_is_marked_at_the_threshold():
    recall, precision = np.linspace(0, 1, 11), np.linspace(1, 0, 11)
    svg = charts.precision_recall([charts.Curve(precision, recall, 5, "face")])
    (line,) = points(svg, "polyline")
    width, height = (float(x) for x in parse(svg).get("viewBox").split()[2:])
    assert line[0, 0] < line[-1, 0] < width and line[0, 1] < line[-1, 1] < height
    dot = parse(svg).find("circle")
    place = [float(dot.get("cx")), float(dot.get("cy"))]
    np.testing.assert_allclose(place, line[4], atol=0.1)  # the point of recall 0 is not drawn


def test_dots_lie_between_their_whiskers_on_a_scale_from_zero():
    rows = [
        charts.Dot("a", "n=3", 4.0, [3.0, 6.0]),
        charts.Dot("b", "n=1", 8.0, None),
        charts.Dot("<c>", "", 0.0, None),
    ]
    svg = charts.dots(rows, 5.0, "mm")
    x = [float(circle.get("cx")) for circle in parse(svg).iter("circle")]
    assert (x[1] - x[2]) == pytest.approx(2 * (x[0] - x[2]), abs=0.3)
    (whisker,) = [line for line in parse(svg).iter("line") if "whisker" in line.get("class")]
    assert float(whisker.get("x1")) < x[0] < float(whisker.get("x2"))
    assert "4.0 mm [3.0, 6.0]" in svg and "&lt;c&gt;" in svg and not re.search(r"nan|inf", svg)
