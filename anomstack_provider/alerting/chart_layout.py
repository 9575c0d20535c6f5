"""The frame of a chart: its colours, its title, its panels' place and their common time axis."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from anomstack_provider.alerting.chart_text import font
from anomstack_provider.alerting.wording import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Apart in hue for every kind of colour vision, and in lightness and shape for a printer without colours.
INK, BLUE, RED, GREY = "#1b2430", "#0072b2", "#c8102e", "#606a77"
PALE, FILL = "#e6e9ee", "#ccd2da"

# As shares of the picture's height: top of the main panel; bottom and height of the strip below it.
_TOP, _STRIP_BOTTOM, _STRIP_HEIGHT, _ABOVE_STRIP = 0.85, 0.125, 0.105, 0.305
# Ticks of years, months, days, hours, minutes, seconds; where the next longer one begins; what is said once.
_TIME_FORMATS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
_ZERO_FORMATS = ["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
_OFFSET_FORMATS = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]


def write_title(figure: Figure, renderer: RendererBase, text: str) -> None:
    """Write the first line across the top; a long one smaller, a longer one without its middle."""
    title = figure.text(0.012, 0.952, text, color=INK, va="center", parse_math=False)
    smaller = [(size, text) for size in (10.8, 10.2, 9.6, 9.0)]
    shorter = [(9.0, elide(text, limit)) for limit in range(min(len(text) - 2, 160), 20, -2)]
    for size, attempt in [*smaller, *shorter]:
        title.set(text=attempt, font=font(size, bold=True))
        if title.get_window_extent(renderer).x1 <= figure.bbox.width * 0.99:
            return


def add_panels(figure: Figure, *, strip: bool) -> list[Axes]:
    """Return the main panel and, if asked for, the strip below it, without any line that says nothing."""
    panels = [figure.add_axes((0.1, _ABOVE_STRIP if strip else _STRIP_BOTTOM, 0.8, 0.1))]
    if strip:
        panels.append(figure.add_axes((0.1, _STRIP_BOTTOM, 0.8, _STRIP_HEIGHT)))
    for axes in panels:
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set(color="#b4bcc7", linewidth=0.8)
        axes.tick_params(length=0, pad=3)
        axes.set_axisbelow(True)
    return panels


def share_time_axis(panels: list[Axes], first: float, last: float, timezone: str) -> None:
    """
    Give all panels the same true time axis and write it below the lowest.

    :param first: left end in matplotlib's days; ``last`` the right end.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = ZoneInfo(timezone)
    formats = {"formats": _TIME_FORMATS, "zero_formats": _ZERO_FORMATS, "offset_formats": _OFFSET_FORMATS}
    for axes in panels:
        lowest = axes is panels[-1]
        locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)
        axes.set_xlim(first, last)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, **formats))
        axes.tick_params(axis="x", labelbottom=lowest, labelsize=8.4, labelcolor=GREY)
        axes.xaxis.get_offset_text().set(font=font(8.4), color=GREY, visible=lowest)
    place: dict[str, Any] = {"xytext": (0, -20.5), "xycoords": "axes fraction", "textcoords": "offset points"}
    style: dict[str, Any] = {"font": font(7.8), "color": GREY}
    panels[-1].annotate(timezone, (0, 0), **place, **style)


def fit_panels(panels: list[Axes], renderer: RendererBase, beside: list[Text]) -> None:
    """Give the panels the width that the numbers at their left and those in ``beside`` leave."""
    width = panels[0].figure.bbox.width
    ticks = [label for axes in panels for label in axes.get_yticklabels()]
    left = 0.022 + max((label.get_window_extent(renderer).width for label in ticks), default=0.0) / width
    right = 0.976 - max((label.get_window_extent(renderer).width for label in beside), default=0.0) / width
    # A date below either end needs some room as well.
    left, right = max(left, 0.035), min(right, 0.963)
    for axes in panels:
        _, bottom, _, height = axes.get_position().bounds
        axes.set_position((left, bottom, right - left, _TOP - bottom if axes is panels[0] else height))
