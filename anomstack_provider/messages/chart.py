"""The picture of an alert: what was measured, what was expected, where it fired and what was there a season before.

Drawn on a canvas object of its own, never through matplotlib's global state, so that threads and a user's own
plots are left alone. The frame around the data is in ``chart_layout``, what is marked in it in ``chart_marks``, how
text looks in ``chart_text``.
"""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

import math
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import unit_text
from anomstack_provider.config.about import About
from anomstack_provider.detection.grain import parse
from anomstack_provider.messages.chart_data import Array, ChartData, half_bucket, moment
from anomstack_provider.messages.chart_layout import (
    BLUE,
    GREY,
    INK,
    ON_WHITE,
    PALE,
    RED,
    add_panel,
    fit_panel,
    label_time_axis,
    write_legend,
    write_title,
)
from anomstack_provider.messages.chart_marks import bounds, mark_bounds, mark_days, mark_event, mark_fired
from anomstack_provider.messages.chart_text import Scale, drawable, font
from anomstack_provider.messages.headline import headline, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

SIZE = (8.0, 3.5)  # inch
DPI = 120  # text in multiples of 0.6 points falls on whole pixels and stays sharp
_UNTOLD = About()
_LARGEST, _SMALLEST = 1e300, 1e-300  # beyond them an axis cannot be computed with


def draw(alert: Alert, data: ChartData, *, timezone: str, about: About = _UNTOLD) -> bytes:
    """Return the chart as a PNG of 8 x 3.5 inch; its times are shown in ``timezone`` (IANA name)."""
    from PIL import Image

    canvas = figure(alert, data, timezone=timezone, about=about)
    canvas.draw()
    # Without the alpha channel, which nothing uses, even a noisy chart stays below 200 kB.
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    png = BytesIO()
    picture.save(png, "png", dpi=(DPI, DPI))
    return png.getvalue()


def figure(alert: Alert, data: ChartData, *, timezone: str, about: About = _UNTOLD) -> FigureCanvasAgg:
    """Return the chart as a figure on its canvas, ready to be rendered."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data = data.clipped(_LARGEST)
    canvas = FigureCanvasAgg(Figure(figsize=SIZE, dpi=DPI, facecolor="white"))
    renderer = canvas.get_renderer()
    write_title(canvas.figure, renderer, drawable(headline(alert, timezone, about).line))
    axes = add_panel(canvas.figure)
    label_time_axis(axes, *_shown_period(alert, data), timezone)
    beside = _draw_values(axes, alert, data, unit_text(about.unit))
    fit_panel(axes, renderer, beside)
    mark_days(axes, renderer, data)
    return canvas


def _shown_period(alert: Alert, data: ChartData) -> tuple[float, float]:
    """Return both ends of the time axis in matplotlib's days, with some room around a single bucket."""
    from matplotlib.dates import date2num

    times = np.concatenate([data.times, data.fired, [moment(alert.bucket)]])
    first, last = float(date2num(times.min())), float(date2num(times.max()))
    half = max(float(half_bucket(alert) / np.timedelta64(1, "D")), 1 / 48)
    margin = max((last - first) * 0.012, half) if last > first else 6 * half
    return first - margin, last + margin


def _draw_values(axes: Axes, alert: Alert, data: ChartData, unit: str) -> list[Text]:
    """Draw all that has a height; returns the labels that need room at its right."""
    mark_event(axes, alert, data)
    if not np.isfinite(data.values).any():
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no values in this period", font=font(12), color=GREY, bbox=ON_WHITE, **place)
        axes.set_yticks([])
        mark_fired(axes, data)
        return []
    ticks, limits = _value_ticks(alert, data)
    scale = Scale.of(ticks)
    axes.set_ylim(*limits)
    axes.set_yticks(ticks, [scale.tick(tick) for tick in ticks], font=font(11.4), color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    _draw_lines(axes, alert, data, unit)
    mark_bounds(axes, alert)
    mark_fired(axes, data)
    write_legend(axes)
    return _label_last(axes, alert, data, scale)


def _draw_lines(axes: Axes, alert: Alert, data: ChartData, unit: str) -> None:
    """Draw what was measured, what was expected, the band and the season before."""
    what = drawable(", ".join(filter(None, [name(data.name, 40) if data.name else "", unit])))
    times, values = _with_gaps(alert, data.times, data.values)
    width = 1.8 if len(times) < 250 else 1.2
    _line(axes, times, values, color=INK, linewidth=width, zorder=4, label=f"actual ({what})" if what else "actual")
    if alert.kind != "threshold" and data.expected is not None and np.isfinite(data.expected).any():
        times, expected = _with_gaps(alert, data.times, data.expected)
        _line(axes, times, expected, "_", color=BLUE, linewidth=1.5, dashes=(4, 2), zorder=3, label="expected")
    if alert.kind != "threshold" and data.lower is not None and data.upper is not None:
        times, lower, upper = _with_gaps(alert, data.times, data.lower, data.upper)
        if (np.isfinite(lower) & np.isfinite(upper)).any():
            shape: dict[str, Any] = {"color": BLUE, "alpha": 0.17, "linewidth": 0}
            axes.fill_between(times, lower, upper, zorder=1, label="usual range", **shape)
    if np.isfinite(data.season).any():
        times, season = _with_gaps(alert, data.season_times, data.season)
        _line(axes, times, season, "", color=GREY, linewidth=0.8, zorder=2, label=data.season_name)


def _line(axes: Axes, times: Array, values: Array, alone: str = "o", **style: Any) -> None:
    """Draw a line, and a mark for a value with no neighbour to draw a line to."""
    axes.plot(times, values, **style)
    if alone:
        empty = np.concatenate([[True], ~np.isfinite(values), [True]])
        single = ~empty[1:-1] & empty[:-2] & empty[2:]
        mark: dict[str, Any] = {"color": style["color"], "markersize": 5, "markeredgewidth": 1.5}
        axes.plot(times[single], values[single], alone, zorder=style["zorder"], **mark)


def _value_ticks(alert: Alert, data: ChartData) -> tuple[list[float], tuple[float, float]]:
    """Return ticks and limits that hold all values; a far wider range is cut off rather than flatten them."""
    from matplotlib.ticker import MaxNLocator

    judged = alert.kind != "threshold"
    drawn = [data.values] if data.expected is None or not judged else [data.values, data.expected]
    finite = np.concatenate([part[np.isfinite(part)] for part in drawn])
    low, high = float(finite.min()), float(finite.max())
    reach = high - low or math.inf
    for wider in (data.season, *((data.lower, data.upper) if judged else [np.array(bounds(alert))])):
        if wider is not None and np.isfinite(wider).any():
            inside = wider[np.isfinite(wider)]
            low, high = min(low, float(inside.min())), max(high, float(inside.max()))
    low, high = max(low, float(finite.min()) - reach), min(high, float(finite.max()) + reach)
    if high - low < _SMALLEST:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    room_for_labels = 0.25 if data.days or data.training_start is not None else 0.08
    limits = (low - (high - low) * 0.08, high + (high - low) * room_for_labels)
    shown: list[float] = []
    for most in (5, 7, 9):
        ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(*limits)
        shown = [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]]
        if len(shown) >= 3:
            break
    return shown, limits


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


def _label_last(axes: Axes, alert: Alert, data: ChartData, scale: Scale) -> list[Text]:
    """Write the newest value beside its point, and what was expected there or allowed unless they would touch."""
    last = int(np.flatnonzero(np.isfinite(data.values))[-1])
    at, value = data.times[last], float(data.values[last])
    shown = [(value, RED if np.isin(at, data.fired) else INK, True)]
    others = [b for b in bounds(alert) if math.isfinite(b)]
    if alert.kind != "threshold" and data.expected is not None and np.isfinite(data.expected[last]):
        others = [float(data.expected[last])]
    low, high = axes.get_ylim()
    for other in others:
        if low <= other <= high and all(abs(other - height) > (high - low) * 0.1 for height, _, _ in shown):
            shown.append((other, BLUE, False))
    place: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
    place["bbox"] = ON_WHITE if alert.kind == "late" else None  # there it stands in the gap
    return [
        axes.annotate(scale.value(height), (at, height), font=font(13.8, bold=bold), color=colour, zorder=6, **place)
        for height, colour, bold in shown
    ]


__all__ = ["DPI", "SIZE", "ChartData", "draw", "figure"]
