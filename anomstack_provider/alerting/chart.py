"""The picture of an alert: what was measured, what was expected, where it fired and how the score got there.

Drawn on a canvas object of its own, never through matplotlib's global state, so that threads and a user's own
plots are left alone. The frame around the data is in ``chart_layout``, how text looks in ``chart_text``.
"""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.chart_layout import (
    BLUE,
    FILL,
    GREY,
    INK,
    PALE,
    RED,
    add_panels,
    fit_panels,
    share_time_axis,
    write_title,
)
from anomstack_provider.alerting.chart_text import Scale, drawable, font
from anomstack_provider.alerting.message import first_line
from anomstack_provider.alerting.wording import number
from anomstack_provider.detection.grain import parse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

SIZE = (8.0, 3.5)  # inch
DPI = 120  # text in multiples of 0.6 points falls on whole pixels and stays sharp

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ChartData:
    """
    The stretch of a metric that a chart shows.

    :param times: bucket starts, datetime64[us], naive UTC, ascending; a bucket without a row is not there.
    :param values: the metric's values at ``times``; NaN where there is none.
    :param score_times: bucket starts of ``scores``.
    :param scores: the scores that are held against the alert's threshold, in [0, 1].
    :param fired: bucket starts at which an alert fired.
    :param expected: values to expect at ``times``, or None; ``lower`` and ``upper`` likewise the usual range.
    """

    times: Array
    values: Array
    score_times: Array
    scores: Array
    fired: Array
    expected: Array | None = None
    lower: Array | None = None
    upper: Array | None = None


def draw(alert: Alert, data: ChartData, *, timezone: str) -> bytes:
    """Return the chart as a PNG of 8 x 3.5 inch; its times are shown in ``timezone`` (IANA name)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    write_title(figure, renderer, drawable(first_line(alert, timezone)))
    panels = add_panels(figure, strip=bool(np.isfinite(data.scores).any()))
    beside = _draw_values(panels[0], alert, data)
    for strip in panels[1:]:
        _draw_scores(strip, alert, data)
    share_time_axis(panels, *_shown_period(alert, data), timezone)
    fit_panels(panels, renderer, beside)
    canvas.draw()
    # Without the alpha channel, which nothing uses, even a noisy chart stays below 200 kB.
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    png = BytesIO()
    picture.save(png, "png", dpi=(DPI, DPI))
    return png.getvalue()


def _shown_period(alert: Alert, data: ChartData) -> tuple[float, float]:
    """Return both ends of the time axis in matplotlib's days, with some room around a single bucket."""
    from matplotlib.dates import date2num

    bucket = np.array([alert.bucket.astimezone(UTC).replace(tzinfo=None)], "datetime64[us]")
    times = np.concatenate([data.times, data.score_times, data.fired])
    times = times if times.size else bucket
    first, last = float(date2num(times.min())), float(date2num(times.max()))
    length = max(float(parse(alert.grain).nominal / np.timedelta64(1, "D")), 1 / 24)
    margin = (last - first) * 0.012 or 3 * length
    return first - margin, last + margin


def _draw_values(axes: Axes, alert: Alert, data: ChartData) -> list[Text]:
    """Draw the main panel; returns the labels that need room at its right."""
    if not np.isfinite(data.values).any():
        axes.text(
            0.5,
            0.5,
            "no values in this period",
            transform=axes.transAxes,
            font=font(10.8),
            color=GREY,
            ha="center",
            va="center",
        )
        axes.set_yticks([])
        _mark_fired(axes, data)
        return []
    ticks, limits = _value_ticks(data)
    scale = Scale.of(ticks)
    axes.set_ylim(*limits)
    axes.set_yticks(ticks, [scale.tick(tick) for tick in ticks], font=font(8.4), color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    times, values = _with_gaps(alert, data.times, data.values)
    axes.plot(times, values, color=INK, linewidth=1.5 if len(times) < 250 else 1.1, zorder=3, label="actual")
    _mark_single_points(axes, times, values)
    if data.expected is not None:
        times, expected = _with_gaps(alert, data.times, data.expected)
        axes.plot(times, expected, color=BLUE, linewidth=1.3, dashes=(4, 2), zorder=2, label="expected")
        _mark_single_points(axes, times, expected, "_", BLUE)
    if data.lower is not None and data.upper is not None:
        times, lower, upper = _with_gaps(alert, data.times, data.lower, data.upper)
        axes.fill_between(times, lower, upper, color=BLUE, alpha=0.17, linewidth=0, zorder=1, label="usual range")
    _mark_fired(axes, data)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        prop=font(8.4),
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=1.5,
        borderaxespad=0.1,
        borderpad=0.2,
    )
    return _label_last(axes, data, scale)


def _value_ticks(data: ChartData) -> tuple[list[float], tuple[float, float]]:
    """Return ticks and limits that hold all values; a far wider range is cut off rather than flatten them."""
    from matplotlib.ticker import MaxNLocator

    drawn = [data.values] if data.expected is None else [data.values, data.expected]
    finite = np.concatenate([part[np.isfinite(part)] for part in drawn])
    low, high = float(finite.min()), float(finite.max())
    reach = high - low or math.inf
    for bound in (data.lower, data.upper):
        if bound is not None and np.isfinite(bound).any():
            inside = bound[np.isfinite(bound)]
            low, high = min(low, float(inside.min())), max(high, float(inside.max()))
    low, high = max(low, float(finite.min()) - reach), min(high, float(finite.max()) + reach)
    if high == low:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    margin = (high - low) * 0.08
    limits = (low - margin, high + margin)
    ticks = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(*limits)
    return [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]], limits


def _with_gaps(alert: Alert, times: Array, *series: Array) -> tuple[Array, ...]:
    """Return times and series with a NaN where buckets are missing: a line breaks, it invents no values."""
    if len(times) < 2:
        return (times, *series)
    steps = np.diff(times)
    nominal = parse(alert.grain).nominal
    # One and a half buckets: a day of 25 hours or a month of 31 days is no gap. Readings keep no grid.
    limit = nominal * 1.5 if nominal > np.timedelta64(0, "us") else np.median(steps) * 5
    after = np.flatnonzero(steps > limit)
    holes = times[after] + steps[after] / 2
    return (
        np.insert(times, after + 1, holes),
        *(np.insert(part.astype(float), after + 1, np.nan) for part in series),
    )


def _mark_single_points(axes: Axes, times: Array, values: Array, marker: str = "o", color: str = INK) -> None:
    """Draw a mark for a value with no neighbour to draw a line to."""
    empty = np.concatenate([[True], ~np.isfinite(values), [True]])
    alone = ~empty[1:-1] & empty[:-2] & empty[2:]
    axes.plot(times[alone], values[alone], marker, color=color, markersize=4.5, markeredgewidth=1.3, zorder=3)


def _mark_fired(axes: Axes, data: ChartData) -> None:
    """Mark the buckets that fired by colour and shape, one without a value at the panel's lower edge."""
    fired = np.isin(data.times, data.fired) & np.isfinite(data.values)
    if fired.any():
        axes.plot(
            data.times[fired],
            data.values[fired],
            "D",
            color=RED,
            markersize=6.5,
            markeredgecolor="white",
            markeredgewidth=0.9,
            zorder=5,
            label="alert",
        )
    bare = data.fired[~np.isin(data.fired, data.times[fired])]
    if len(bare):
        axes.plot(
            bare,
            np.zeros(len(bare)),
            "X",
            color=RED,
            markersize=8,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
            label="_" if fired.any() else "alert",
        )


def _label_last(axes: Axes, data: ChartData, scale: Scale) -> list[Text]:
    """Write the newest value beside its point, and what was expected there unless the two would touch."""
    last = int(np.flatnonzero(np.isfinite(data.values))[-1])
    at, value = data.times[last], float(data.values[last])
    shown = [(value, RED if np.isin(at, data.fired) else INK, True)]
    if data.expected is not None and np.isfinite(data.expected[last]):
        expected = float(data.expected[last])
        low, high = axes.get_ylim()
        if abs(expected - value) > (high - low) * 0.08:
            shown.append((expected, BLUE, False))
    return [
        axes.annotate(
            scale.value(height),
            (at, height),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            font=font(9.6, bold=bold),
            color=colour,
            annotation_clip=False,
        )
        for height, colour, bold in shown
    ]


def _draw_scores(axes: Axes, alert: Alert, data: ChartData) -> None:
    """Draw the strip below: the score, and the threshold that it has to reach."""
    times, scores = _with_gaps(alert, data.score_times, data.scores)
    axes.set_ylim(0, 1.08)
    axes.fill_between(times, 0, scores, color=FILL, linewidth=0)
    axes.plot(times, scores, color=GREY, linewidth=0.9)
    _mark_single_points(axes, times, scores, ".", GREY)
    axes.axhline(alert.threshold, color=INK, linewidth=0.9, linestyle=(0, (1, 1.5)))
    fired = np.isin(data.score_times, data.fired) & np.isfinite(data.scores)
    axes.plot(data.score_times[fired], data.scores[fired], "D", color=RED, markersize=4, markeredgewidth=0, zorder=5)
    axes.set_yticks([0, 1], ["0", "1"], font=font(7.8), color=GREY)
    heading = f"anomaly score, alerts from {number(alert.threshold)} (dotted)"
    axes.text(0, 1.14, heading, transform=axes.transAxes, font=font(7.8), color=GREY)


__all__ = ["DPI", "SIZE", "ChartData", "draw"]
