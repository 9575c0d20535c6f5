"""The lines of a chart: what was measured, what was expected, the usual range, the season before, and their heights."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.detection.grain import parse
from anomstack_provider.messages.chart_data import Array, ChartData
from anomstack_provider.messages.chart_layout import BLUE, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Beyond them an axis cannot be computed with.
LARGEST, _SMALLEST = 1e300, 1e-300


def draw_lines(axes: Axes, data: ChartData, *, grain: str, is_judged: bool, label: str) -> None:
    """
    Draw what was measured, what was expected, the band and the season before.

    :param is_judged: whether values are held against what was expected.
    :param label: what the legend calls the measured line.
    """
    times, values = with_gaps(grain, data.times, data.values)
    width = 1.8 if len(times) < 250 else 1.2
    _line(axes, times, values, color=INK, linewidth=width, zorder=4, label=label)
    if is_judged and data.expected is not None and np.isfinite(data.expected).any():
        times, expected = with_gaps(grain, data.times, data.expected)
        _line(axes, times, expected, "_", color=BLUE, linewidth=1.5, dashes=(4, 2), zorder=3, label="expected")
    if is_judged and data.lower is not None and data.upper is not None:
        times, lower, upper = with_gaps(grain, data.times, data.lower, data.upper)
        if (np.isfinite(lower) & np.isfinite(upper)).any():
            shape: dict[str, Any] = {"color": BLUE, "alpha": 0.17, "linewidth": 0}
            axes.fill_between(times, lower, upper, zorder=1, label="usual range", **shape)
    if np.isfinite(data.season).any():
        times, season = with_gaps(grain, data.season_times, data.season)
        _line(axes, times, season, "", color=GREY, linewidth=0.8, zorder=2, label=data.season_name)


def draw_scores(axes: Axes, times: Array, scores: Array, *, grain: str) -> None:
    """Draw the scores of buckets."""
    times, scores = with_gaps(grain, times, scores)
    _line(axes, times, scores, color=BLUE, linewidth=1.2, zorder=4, label="score")


def _line(axes: Axes, times: Array, values: Array, alone: str = "o", **style: Any) -> None:
    """Draw a line, and a mark for a value with no neighbour to draw a line to."""
    axes.plot(times, values, **style)
    if alone:
        empty = np.concatenate([[True], ~np.isfinite(values), [True]])
        single = ~empty[1:-1] & empty[:-2] & empty[2:]
        mark: dict[str, Any] = {"color": style["color"], "markersize": 5, "markeredgewidth": 1.5}
        axes.plot(times[single], values[single], alone, zorder=style["zorder"], **mark)


def value_ticks(
    data: ChartData, *, is_judged: bool, bounds: Sequence[float] = ()
) -> tuple[list[float], tuple[float, float]]:
    """Return ticks and limits that hold all values; a far wider range is cut off rather than flatten them."""
    from matplotlib.ticker import MaxNLocator

    drawn = [data.values] if data.expected is None or not is_judged else [data.values, data.expected]
    finite = np.concatenate([part[np.isfinite(part)] for part in drawn])
    low, high = float(finite.min()), float(finite.max())
    reach = high - low or math.inf
    for wider in (data.season, np.array(bounds), *((data.lower, data.upper) if is_judged else ())):
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


def with_gaps(grain: str, times: Array, *series: Array) -> tuple[Array, ...]:
    """Return times and series with a NaN where buckets are missing: a line breaks, it invents no values."""
    if len(times) < 2:
        return (times, *series)
    steps = np.diff(times)
    nominal = parse(grain).nominal
    # One and a half buckets: a day of 25 hours or a month of 31 days is no gap. Readings keep no grid.
    limit = nominal * 1.5 if nominal > np.timedelta64(0, "us") else np.median(steps) * 5
    after = np.flatnonzero(steps > limit)
    holes = times[after] + steps[after] / 2
    return (
        np.insert(times, after + 1, holes),
        *(np.insert(part.astype(float), after + 1, np.nan) for part in series),
    )
