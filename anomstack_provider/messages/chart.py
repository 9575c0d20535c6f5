"""The picture of an alert: what was measured, what was expected, where it fired and what was there a season before.

Drawn on a canvas object of its own, never through matplotlib's global state, so that threads and a user's own
plots are left alone. The frame around the data is in ``chart_layout``, what is marked in it in ``chart_marks``, its
lines in ``chart_lines``, how text looks in ``chart_text``.
"""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import unit_text
from anomstack_provider.config.about import About
from anomstack_provider.messages.chart_data import ChartData, half_bucket, moment
from anomstack_provider.messages.chart_layout import (
    BLUE,
    DPI,
    GREY,
    INK,
    ON_WHITE,
    PALE,
    RED,
    add_panel,
    fit_panel,
    label_time_axis,
    to_png,
    write_legend,
    write_title,
)
from anomstack_provider.messages.chart_lines import LARGEST, draw_lines, value_ticks
from anomstack_provider.messages.chart_marks import bounds, mark_bounds, mark_days, mark_event, mark_fired
from anomstack_provider.messages.chart_text import Scale, drawable, font
from anomstack_provider.messages.headline import headline, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

SIZE = (8.0, 3.5)  # inch
_UNTOLD = About()


def draw(alert: Alert, data: ChartData, *, timezone: str, about: About = _UNTOLD) -> bytes:
    """Return the chart as a PNG of 8 x 3.5 inch; its times are shown in ``timezone`` (IANA name)."""
    return to_png(figure(alert, data, timezone=timezone, about=about))


def figure(alert: Alert, data: ChartData, *, timezone: str, about: About = _UNTOLD) -> FigureCanvasAgg:
    """Return the chart as a figure on its canvas, ready to be rendered."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data = data.clipped(LARGEST)
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
    is_judged = alert.kind != "threshold"
    ticks, limits = value_ticks(data, is_judged=is_judged, bounds=bounds(alert))
    scale = Scale.of(ticks)
    axes.set_ylim(*limits)
    axes.set_yticks(ticks, [scale.tick(tick) for tick in ticks], font=font(11.4), color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    what = drawable(", ".join(filter(None, [name(data.name, 40) if data.name else "", unit])))
    label = f"actual ({what})" if what else "actual"
    draw_lines(axes, data, grain=alert.grain, is_judged=is_judged, label=label)
    mark_bounds(axes, bounds(alert))
    mark_fired(axes, data)
    write_legend(axes)
    return _label_last(axes, alert, data, scale)


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
