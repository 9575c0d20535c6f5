"""What is marked in a chart: the event, the buckets that fired, thresholds, days of the calendar, start of training."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import elide, known
from anomstack_provider.messages.buckets import first_bucket, last_bucket
from anomstack_provider.messages.chart_data import ChartData, half_bucket, moment
from anomstack_provider.messages.chart_layout import BLUE, GREY, INK, ON_WHITE, RED
from anomstack_provider.messages.chart_text import drawable, font

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.text import Text

_LEAST_WIDTH = 0.004  # of the panel, so that one of 500 buckets is seen
_NAME_ROWS = (0.965, 0.88)  # heights in the panel
_HOLIDAY = "Holiday: "


def mark_event(axes: Axes, alert: Alert, data: ChartData) -> None:
    """
    Shade the event from its first to its newest bucket, and underline it for those who see no pale red.

    Of late data the whole gap is hatched, for there is nothing in it, and what is overdue of it underlined; where the
    data have come since it is shaded.
    """
    half, shown = half_bucket(alert), axes.get_xlim()
    begin, end = moment(first_bucket(alert)), moment(last_bucket(alert)) + half
    left, right = _at_least(shown, begin - half, end)
    if alert.kind == "late" and not ((data.times >= begin) & (data.times < end)).any():
        known = data.times[data.times < begin]
        gap = _at_least(shown, min(known[-1] + half, begin) if len(known) else begin - half, end)
        hatch: dict[str, Any] = {"facecolor": "#f1f3f6", "edgecolor": "#aab2be", "hatch": "///", "linewidth": 0}
        axes.axvspan(*gap, zorder=0, label="no data", **hatch)
    else:
        axes.axvspan(left, right, facecolor=RED, alpha=0.11, linewidth=0, zorder=0)
    edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "solid_capstyle": "butt"}
    axes.plot([left, right], [0, 0], color=RED, linewidth=4, zorder=5, **edge)


def _at_least(shown: tuple[float, float], begin: np.datetime64, end: np.datetime64) -> tuple[float, float]:
    """Return a stretch in matplotlib's days, within the panel and wide enough to be seen."""
    from matplotlib.dates import date2num

    first, last = shown
    left, right = max(float(date2num(begin)), first), min(float(date2num(end)), last)
    short = (last - first) * _LEAST_WIDTH - (right - left)
    return (left - short / 2, right + short / 2) if short > 0 else (left, right)


def mark_fired(axes: Axes, data: ChartData, label: str = "fired") -> None:
    """Mark the buckets that fired by colour and shape, one without a value at the panel's lower edge."""
    fired = np.isin(data.times, data.fired) & np.isfinite(data.values)
    many = fired.sum() > 40
    if fired.any():
        size: dict[str, Any] = {"markersize": 5 if many else 8, "markeredgewidth": 0.5 if many else 1.1}
        style: dict[str, Any] = {"color": RED, "markeredgecolor": "white", "zorder": 6, **size}
        axes.plot(data.times[fired], data.values[fired], "D", label=label, **style)
    bare = data.fired[~np.isin(data.fired, data.times[fired])]
    if len(bare):
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        label = "_" if fired.any() else label
        axes.plot(bare, np.zeros(len(bare)), "X", color=RED, markersize=9, zorder=6, label=label, **place)


def bounds(alert: Alert) -> list[float]:
    """Return the bounds that a threshold alert was held against; none for other kinds."""
    if alert.kind != "threshold":
        return []
    return [bound for bound in map(known, (alert.lower, alert.upper)) if bound is not None and math.isfinite(bound)]


def mark_bounds(axes: Axes, bounds: Sequence[float]) -> None:
    """Draw fixed thresholds through the whole period."""
    for number, bound in enumerate(bounds):
        label = "_" if number else "threshold"
        axes.axhline(bound, color=BLUE, linewidth=1.6, linestyle=(0, (5, 1.5, 1, 1.5)), zorder=3, label=label)


def mark_days(axes: Axes, renderer: RendererBase, data: ChartData) -> None:
    """Mark the calendar's days and the start of training at the panel's top, named where the names have room."""
    from matplotlib.dates import date2num

    first, last = axes.get_xlim()
    named: list[Text] = []
    if data.training_start is not None and first < (at := float(date2num(data.training_start))) < last:
        axes.axvline(at, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=2)
        _name(axes, renderer, at, "training starts", named)
    for begin, end, name in data.days:
        if float(date2num(end)) <= first or float(date2num(begin)) >= last:
            continue
        left, right = _at_least((first, last), begin, end)
        top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "solid_capstyle": "butt", "zorder": 5}
        axes.plot([left, right], [0.995, 0.995], color=GREY, linewidth=4, **top)
        axes.axvspan(left, right, facecolor=GREY, alpha=0.12, linewidth=0, zorder=0)
        _name(axes, renderer, (left + right) / 2, drawable(elide(name.replace(_HOLIDAY, ""), 36)), named)


def _name(axes: Axes, renderer: RendererBase, at: float, text: str, named: list[Text]) -> None:
    """Write a name below the panel's upper edge, inside the panel; not at all where others stand in both rows."""
    style: dict[str, Any] = {"font": font(10.2), "color": INK, "va": "top", "zorder": 7, "bbox": ON_WHITE}
    written = axes.text(at, 1, text, transform=axes.get_xaxis_transform(), ha="center", **style)
    panel, box = axes.get_window_extent(renderer), written.get_window_extent(renderer)
    if box.x0 < panel.x0:
        written.set(ha="left", x=axes.get_xlim()[0])
    elif box.x1 > panel.x1:
        written.set(ha="right", x=axes.get_xlim()[1])
    taken = [other.get_window_extent(renderer) for other in named]
    for row in _NAME_ROWS if box.width < panel.width else ():
        written.set_y(row)
        if not any(written.get_window_extent(renderer).overlaps(other) for other in taken):
            named.append(written)
            return
    written.remove()
