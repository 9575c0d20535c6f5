"""The picture of a metric alone, for a reader who is to judge it: its points, and which of them are in question."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

from io import BytesIO

import numpy as np

from anomstack_provider.detection.grain import parse
from anomstack_provider.messages.chart_data import Array
from anomstack_provider.messages.chart_layout import (
    BLUE,
    GREY,
    INK,
    PALE,
    add_panel,
    fit_panel,
    label_time_axis,
    write_legend,
    write_title,
)
from anomstack_provider.messages.chart_text import Scale, drawable, font
from anomstack_provider.messages.headline import name

_SIZE, _DPI = (8.0, 3.5), 100
_LARGEST = 1e300  # beyond it an axis cannot be computed with


def draw_series(metric_name: str, times: Array, values: Array, asked: Array, *, grain: str, timezone: str) -> bytes:
    """
    Return the chart as a PNG of 800 x 350 pixels.

    :param times: bucket starts, datetime64[us], UTC, ascending, at least one; ``asked`` those in question.
    :param grain: length of the buckets, such as ``1h``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import date2num
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    canvas = FigureCanvasAgg(Figure(figsize=_SIZE, dpi=_DPI, facecolor="white"))
    renderer = canvas.get_renderer()
    write_title(canvas.figure, renderer, drawable(name(metric_name, 80)))
    axes = add_panel(canvas.figure)
    half = max(float(parse(grain).nominal / np.timedelta64(1, "D")), 1 / 24) / 2
    label_time_axis(axes, float(date2num(times[0])) - half, float(date2num(times[-1])) + half, timezone)
    values = np.clip(values, -_LARGEST, _LARGEST)
    axes.plot(times, values, color=INK, linewidth=1.4 if len(times) < 250 else 0.9, zorder=2, label="value")
    mine = np.isin(times, asked)
    axes.plot(times[mine], values[mine], "o", color=BLUE, markersize=5, zorder=3, label="in question")
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.08 or abs(low) * 0.1 or 1.0
    low, high = low - room, high + room
    ticks = [float(tick) for tick in MaxNLocator(nbins=6).tick_values(low, high) if low <= tick <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [Scale.of(ticks).tick(tick) for tick in ticks], font=font(11.4), color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    write_legend(axes)
    fit_panel(axes, renderer, [])
    png = BytesIO()
    canvas.print_png(png)
    return png.getvalue()
