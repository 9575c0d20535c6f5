"""The picture of a batch: a panel per metric with its values, their usual range, its scores, and where it alerted."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.alerting.wording import unit_text
from anomstack_provider.config.about import About
from anomstack_provider.messages.chart_data import Array, ChartData
from anomstack_provider.messages.chart_layout import (
    DPI,
    GREY,
    INK,
    PALE,
    RED,
    add_panel,
    label_time_axis,
    to_png,
)
from anomstack_provider.messages.chart_lines import LARGEST, draw_lines, draw_scores, value_ticks
from anomstack_provider.messages.chart_marks import mark_bounds, mark_fired
from anomstack_provider.messages.chart_text import Scale, drawable, font
from anomstack_provider.messages.headline import name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: a panel with its scores below, and the head of the picture.
_WIDTH, _HEIGHT, _HEAD = 8.0, 3.6, 0.75
_ONE_COLUMN = 3


@dataclass(frozen=True)
class Panel:
    """
    One metric as it is drawn.

    :param data: its values, range, and the buckets to mark.
    :param grain: length of its buckets.
    :param threshold: the score from which on a bucket is an anomaly; None if scores are not held against one.
    :param bounds: the fixed thresholds that its values are held against.
    """

    name: str
    about: About
    data: ChartData
    grain: str
    score_times: Array
    scores: Array
    threshold: float | None = None
    bounds: Sequence[float] = ()


def draw_plot(panels: Sequence[Panel], *, head: str, note: str, timezone: str, texts: Mapping[str, str]) -> bytes:
    """
    Return the picture as a PNG.

    :param panels: at least one; more than three stand in two columns.
    :param head: first line, ``note`` the smaller one below it.
    :param timezone: IANA name of the zone of the time axes.
    :param texts: kept in the file by name, unseen.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 1 if len(panels) <= _ONE_COLUMN else 2
    rows = -(-len(panels) // columns)
    size = (columns * _WIDTH, rows * _HEIGHT + _HEAD)
    canvas = FigureCanvasAgg(Figure(figsize=size, dpi=DPI, facecolor="white"))
    figure = canvas.figure
    _write_head(figure, size, drawable(head), drawable(note))
    uppers = []
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left, top = column * _WIDTH, size[1] - _HEAD - row * _HEIGHT
        upper, lower = (
            add_panel(figure, _share(size, left + 0.75, top - bottom, _WIDTH - 1.05, height))
            for bottom, height in ((2.3, 1.95), (3.1, 0.6))
        )
        _draw(upper, lower, panel, timezone)
        uppers.append(upper)
    _write_legend(figure, uppers, size)
    return to_png(canvas, texts)


def _share(size: tuple[float, float], left: float, bottom: float, width: float, height: float) -> Any:
    return left / size[0], bottom / size[1], width / size[0], height / size[1]


def _write_head(figure: Figure, size: tuple[float, float], head: str, note: str) -> None:
    for text, down, style in ((head, 0.2, font(13.2, bold=True)), (note, 0.44, font(10.2))):
        colour = INK if text is head else GREY
        place = (0.12 / size[0], 1 - down / size[1])
        figure.text(*place, text, font=style, color=colour, va="center", parse_math=False)


def _write_legend(figure: Figure, uppers: Sequence[Axes], size: tuple[float, float]) -> None:
    """Write once what the lines of any panel are, at the right of the head."""
    found: dict[str, Any] = {}
    for axes in uppers:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels, handles = list(found), list(found.values())
    place: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1 - 0.1 / size[0], 1 - 0.3 / size[1])}
    look: dict[str, Any] = {"ncols": len(handles) or 1, "frameon": False, "prop": font(10.2), "labelcolor": INK}
    figure.legend(handles, labels, handlelength=1.9, handletextpad=0.5, columnspacing=1.3, **look, **place)


def _draw(upper: Axes, lower: Axes, panel: Panel, timezone: str) -> None:
    data = panel.data.clipped(LARGEST)
    unit = unit_text(panel.about.unit)
    shown = name(panel.about.title or panel.name, 60)
    upper.set_title(
        drawable(f"{shown} ({unit})" if unit else shown),
        font=font(11.4, bold=True),
        color=INK,
        loc="left",
        pad=6,
        parse_math=False,
    )
    first, last = _period(panel)
    label_time_axis(lower, first, last, timezone)
    upper.set_xlim(first, last)
    upper.set_xticks([])
    _draw_values(upper, panel, data)
    draw_scores(lower, panel.score_times, panel.scores, grain=panel.grain)
    lower.set_ylim(-0.05, 1.08)
    lower.set_yticks([0, 1], ["0", "1"], font=font(10.2), color=GREY)
    lower.set_ylabel("score", font=font(10.2), color=GREY)
    if panel.threshold is not None:
        lower.axhline(panel.threshold, color=RED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=3)


def _period(panel: Panel) -> tuple[float, float]:
    """Return both ends of the time axis in matplotlib's days, with some room around a single bucket."""
    from matplotlib.dates import date2num

    times = np.concatenate([panel.data.times, panel.score_times])
    first, last = float(date2num(times.min())), float(date2num(times.max()))
    margin = (last - first) * 0.015 if last > first else 0.5
    return first - margin, last + margin


def _draw_values(axes: Axes, panel: Panel, data: ChartData) -> None:
    if not np.isfinite(data.values).any():
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no values in this period", font=font(12), color=GREY, **place)
        axes.set_yticks([])
        return
    ticks, limits = value_ticks(data, is_judged=True, bounds=panel.bounds)
    scale = Scale.of(ticks)
    axes.set_ylim(*limits)
    axes.set_yticks(ticks, [scale.tick(tick) for tick in ticks], font=font(10.2), color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    draw_lines(axes, data, grain=panel.grain, is_judged=True, label="actual")
    mark_bounds(axes, panel.bounds)
    mark_fired(axes, data, label="alert")
