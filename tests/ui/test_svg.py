"""Charts drawn as SVG: whatever a series holds gives well-formed XML with finite places inside the picture."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from anomstack_provider.ui.svg import LARGE, SMALL, Picture, chart, sparkline

NONE = np.empty(0, "datetime64[us]")


def days(count: int, start: str = "2024-03-01", step: str = "D") -> Any:
    return np.datetime64(start, "us") + np.arange(count) * np.timedelta64(1, step).astype("timedelta64[us]")


def picture(values: Any, **more: Any) -> Picture:
    values = np.asarray(values, float)
    times = more.pop("times", days(len(values)))
    given: dict[str, Any] = {"score_times": times, "scores": np.full(len(values), 0.2), "alerts": NONE, "changes": NONE}
    told: dict[str, Any] = {"threshold": 0.5, "grain": "1d", "timezone": "UTC", "label": "m"}
    return Picture(times, values, **{**given, **told, **more})


def parsed(svg: str) -> ET.Element:
    """Return the picture, after looking at every place in it."""
    root = ET.fromstring(svg)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    for path in root.iter("path"):
        numbers = [float(number) for number in re.findall(r"[-+.\w]+", re.sub("[MLZ]", " ", path.attrib["d"]))]
        assert np.isfinite(numbers).all()
        assert all(-6 <= x <= width + 6 for x in numbers[::2])
        assert all(-6 <= y <= height + 6 for y in numbers[1::2])
    return root


def marks(root: ET.Element, name: str) -> list[ET.Element]:
    return [path for path in root.iter("path") if path.attrib["class"] == name]


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [5.0] * 10,
        [0.0] * 10,
        [3e307, -3e307, 1.0],
        [np.inf, 1.0, -np.inf, 2.0],
        [1e-300, 2e-300, 1e-320],
        [1e15, 1e15 + 1, 1e15 + 2],
        [np.nan, 1.0, np.nan, 3.0, 4.0],
        np.arange(10_000.0),
    ],
    ids=lambda values: str(values)[:30],
)
@pytest.mark.parametrize("frame", [SMALL, LARGE], ids=["small", "large"])
def test_any_values(values: Any, frame: Any) -> None:
    wide = np.abs(np.asarray(values, float)) * 3
    band = {"expected": np.asarray(values, float), "lower": -wide, "upper": wide}
    root = parsed(chart(picture(values, band=band, alerts=days(1), changes=days(1)), frame))
    assert len(marks(root, "value")) == 1
    assert len(marks(root, "alert")) == len(marks(root, "change")) == 1


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_to_draw_says_so(values: Any) -> None:
    assert "no values in this period" in chart(picture(values))


def test_a_series_without_scores_says_so() -> None:
    svg = chart(picture([1.0, 2.0], score_times=NONE, scores=np.empty(0)))
    assert "no scores yet" in svg
    assert not marks(parsed(svg), "threshold")


def test_a_line_breaks_where_a_bucket_is_missing() -> None:
    times = np.delete(days(10), 5)
    (line,) = marks(parsed(chart(picture(np.arange(9.0), times=times))), "value")
    assert line.attrib["d"].count("M") == 2


def test_an_alert_in_a_bucket_without_a_value_is_marked_at_the_edge_and_names_its_time() -> None:
    root = parsed(chart(picture([1.0, 2.0, 3.0], alerts=days(1, "2024-03-02T12:00"), timezone="Europe/Berlin")))
    (mark,) = marks(root, "alert")
    assert [title.text for title in mark] == ["alert, 2 Mar 2024 13:00"]
    assert f"{SMALL.bottom:.1f}" in mark.attrib["d"]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (days(2, step="m"), []),
        (days(24, step="h"), ["06:00", "12:00", "18:00"]),
        (days(9), ["3 Mar", "6 Mar"]),
        (days(90), ["Apr 2024", "May 2024"]),
        (days(1500), ["Jan 2026", "Jan 2028"]),
        (days(40_000), ["Jan 2050", "Jan 2100"]),
    ],
    ids=lambda found: str(len(found)),
)
def test_the_time_axis_has_round_moments(times: Any, said: list[str]) -> None:
    root = parsed(chart(picture(np.arange(float(len(times))), times=times)))
    texts = " ".join(text.text or "" for text in root.iter("text") if text.attrib["class"] == "mid")
    assert all(each in texts for each in said), texts
    assert len(texts) < 80


def test_names_are_escaped() -> None:
    svg = chart(picture([1.0], label="\"'<script>&"))
    assert "<script>" not in svg
    assert parsed(svg).attrib["aria-label"] == "\"'<script>&"


def test_a_sparkline_marks_its_bucket() -> None:
    times = days(30)
    root = parsed(sparkline(times, np.arange(30.0), times[7], "1d", "m"))
    assert len(marks(root, "alert")) == 1
    parsed(sparkline(times, np.full(30, np.nan), times[7], "1d", "m"))
    parsed(sparkline(times[:0], np.empty(0), times[7], "1d", "m"))
