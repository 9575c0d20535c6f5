"""The frame of a chart: its colours, its title, its panel's place, its time axis and its legend."""

# mypy: untyped-calls-exclude=matplotlib

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from anomstack_provider.alerting.wording import elide
from anomstack_provider.messages.chart_text import font

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Apart in hue for every kind of colour vision, and in lightness and shape for a printer without colours.
INK, BLUE, RED, GREY = "#1b2430", "#0072b2", "#c8102e", "#606a77"
PALE = "#e6e9ee"
DPI = 120  # text in multiples of 0.6 points falls on whole pixels and stays sharp
# Behind text that may stand on lines.
ON_WHITE: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}

# As shares of the picture's height.
_TOP, _BOTTOM = 0.815, 0.155
# Ticks of years, months, days, hours, minutes, seconds; where the next longer one begins; what is said once.
_TIME_FORMATS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
_ZERO_FORMATS = ["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
_OFFSET_FORMATS = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]


def write_title(figure: Figure, renderer: RendererBase, text: str) -> None:
    """Write the first line across the top; a long one smaller, a longer one on two lines, else without its middle."""
    title = figure.text(0.012, 0.948, text, color=INK, va="center", parse_math=False, linespacing=1.1)
    attempts = [(size, text) for size in (13.2, 12.6, 12.0, 11.4, 10.8)]
    attempts += [(size, halves) for size in (10.8, 9.6) for halves in _halves(text)]
    attempts += [(9.6, elide(text, limit)) for limit in range(min(len(text) - 2, 160), 20, -2)]
    for size, attempt in attempts:
        title.set(text=attempt, font=font(size, bold=True), y=0.936 if "\n" in attempt else 0.948)
        if title.get_window_extent(renderer).x1 <= figure.bbox.width * 0.99:
            return


def _halves(text: str) -> list[str]:
    """Return a title on two lines, broken before what it says last in brackets, or else as evenly as it goes."""
    breaks = [k for k, letter in enumerate(text) if letter == " "]
    breaks.sort(key=lambda k: (text[k + 1] != "(" or ")" in text[k:-1], abs(k - len(text) / 2)))
    return [f"{text[:k]}\n{text[k + 1 :]}" for k in breaks]


def add_panel(figure: Figure, place: tuple[float, float, float, float] = (0.1, _BOTTOM, 0.8, _TOP - _BOTTOM)) -> Axes:
    """Return a panel without any line that says nothing; ``place`` is left, bottom, width and height as shares."""
    axes = figure.add_axes(place)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color="#b4bcc7", linewidth=0.8)
    axes.tick_params(length=0, pad=4)
    axes.set_axisbelow(True)
    return axes


def label_time_axis(axes: Axes, first: float, last: float, timezone: str) -> None:
    """
    Give the panel a true time axis.

    :param first: left end in matplotlib's days; ``last`` the right end.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = ZoneInfo(timezone)
    formats = {"formats": _TIME_FORMATS, "zero_formats": _ZERO_FORMATS, "offset_formats": _OFFSET_FORMATS}
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=8)
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, **formats))
    axes.set_xticks(_evenly([tick for tick in locator() if first <= tick <= last]))
    axes.tick_params(axis="x", labelsize=11.4, labelcolor=GREY)
    axes.xaxis.get_offset_text().set(font=font(10.2), color=GREY)
    place: dict[str, Any] = {"xytext": (0, -22), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(timezone, (0, 0), font=font(10.2), color=GREY, va="top", **place)


def _evenly(ticks: Sequence[float]) -> list[float]:
    """Return the ticks without those that crowd the next one: every second day is the 31st and then the 1st."""
    gaps = [after - tick for tick, after in pairwise(ticks)]
    return [tick for tick, gap in zip(ticks, [*gaps, inf], strict=True) if gap > 0.6 * max(gaps, default=0)]


def write_legend(axes: Axes) -> None:
    """Write what the lines are above the panel, in one row."""
    size: dict[str, Any] = {"handlelength": 1.9, "handletextpad": 0.5, "columnspacing": 1.3}
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.008, _TOP + 0.005), "borderpad": 0.1}
    place |= {"borderaxespad": 0.1, "bbox_transform": axes.figure.transFigure}
    axes.legend(ncols=6, frameon=False, prop=font(10.8), labelcolor=INK, **size, **place)


def to_png(canvas: FigureCanvasAgg, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a drawn figure as a PNG; ``texts`` are kept in it by name, unseen."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    canvas.draw()
    # Without the alpha channel, which nothing uses, even a noisy chart stays below 200 kB.
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    info = PngInfo()
    for name, text in (texts or {}).items():
        info.add_text(name, text)
    png = BytesIO()
    picture.save(png, "png", dpi=(DPI, DPI), pnginfo=info)
    return png.getvalue()


def fit_panel(axes: Axes, renderer: RendererBase, beside: list[Text]) -> None:
    """Give the panel the width that the numbers at its left and those in ``beside`` leave."""
    width = axes.figure.bbox.width
    ticks = axes.get_yticklabels()
    left = 0.022 + max((label.get_window_extent(renderer).width for label in ticks), default=0.0) / width
    right = 0.976 - max((label.get_window_extent(renderer).width for label in beside), default=0.0) / width
    # A date below either end needs some room as well.
    left, right = max(left, 0.04), min(right, 0.96)
    axes.set_position((left, _BOTTOM, right - left, _TOP - _BOTTOM))
