"""
Charts as inline SVG, drawn on the server without matplotlib; the marks are those of ``messages.chart``.

Colours are classes of ``style.css``, so that a chart is legible in light and dark. What stands for something differs
in shape as well: expected is dashed, an alert is a diamond, a change of level a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from anomstack_provider.detection.grain import to_local, to_utc
from anomstack_provider.messages.chart_lines import LARGEST, with_gaps
from anomstack_provider.messages.chart_text import Scale

Array: TypeAlias = NDArray[Any]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Steps between the labels of a time axis in minutes, then in months.
_MINUTES = (1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 4320, 7 * 1440, 14 * 1440)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400)


@dataclass(frozen=True)
class Picture:
    """
    What is drawn of one metric.

    :param times: bucket starts, ``datetime64[us]`` in UTC, ascending, with their ``values``.
    :param band: ``expected``, ``lower`` and ``upper`` at ``times``, as far as they are known.
    :param alerts: buckets to mark, ``changes`` those of a change of level.
    :param threshold: score from which on a bucket fires.
    :param grain: length of the buckets; where one is missing the line breaks.
    :param label: what the picture shows, for those who cannot see it.
    """

    times: Array
    values: Array
    score_times: Array
    scores: Array
    alerts: Array
    changes: Array
    threshold: float
    grain: str
    timezone: str
    label: str
    band: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """Where things stand in a picture, in its own units: value panel, score panel below it, the axes' texts."""

    width: float
    height: float
    left: float = 44
    right: float = 10
    top: float = 10
    score: float = 30
    foot: float = 18
    ticks: int = 4

    @property
    def bottom(self) -> float:
        """Lower edge of the value panel."""
        return self.height - self.foot - self.score - 20


SMALL, LARGE = Frame(420, 216), Frame(1080, 430, left=56, score=60, ticks=8)


def chart(picture: Picture, frame: Frame = SMALL) -> Markup:
    """Return a metric's values with what was expected, its alerts and changes, and below them its scores."""
    span = _span(picture.times, picture.score_times)
    if span is None or not np.isfinite(picture.values).any():
        return _svg(frame, picture.label, [_text(frame.width / 2, frame.height / 2, "no values in this period", "mid")])
    across = _Axis(span[0], span[1], frame.left, frame.width - frame.right)
    values = np.clip(picture.values, -LARGEST, LARGEST)
    band = {name: np.clip(part, -LARGEST, LARGEST) for name, part in picture.band.items()}
    low, high = _limits(values, band)
    up = _Axis(low, high, frame.bottom, frame.top)
    score = _Axis(0, 1, frame.height - frame.foot, frame.height - frame.foot - frame.score)
    parts = [*_grid(frame, up, _ticks(low, high)), *_time_axis(frame, across, picture.timezone)]
    times, *lines = with_gaps(picture.grain, picture.times, values, *(band[name] for name in band))
    x, named = across(_number(times)), dict(zip(["value", *band], lines, strict=True))
    if {"lower", "upper"} <= named.keys():
        parts.append(_area(x, up(named["lower"]), up(named["upper"])))
    if "expected" in named:
        parts.append(_path(x, up(named["expected"]), "expected"))
    parts.append(_path(x, up(named["value"]), "value"))
    parts += _scores(picture, frame, across, score)
    for marked, shape, name in ((picture.changes, _SQUARE, "change of level"), (picture.alerts, _DIAMOND, "alert")):
        parts += _marks(picture, marked, shape, name, across, up)
    return _svg(frame, picture.label, parts)


def sparkline(times: Array, values: Array, at: np.datetime64, grain: str, label: str) -> Markup:
    """Return the values alone, small, with a diamond at one bucket."""
    frame = Frame(140, 36)
    span = _span(times, np.array([at]))
    if span is None or not np.isfinite(values).any():
        return _svg(frame, label, [])
    values = np.clip(values, -LARGEST, LARGEST)
    across, up = _Axis(*span, 6, 134), _Axis(*_limits(values, {}), 31, 5)
    broken, line = with_gaps(grain, times, values)
    parts = [_path(across(_number(broken)), up(line), "value")]
    mine = values[times == at]
    y = float(up(mine)[0]) if len(mine) and np.isfinite(mine[0]) else 31
    parts.append(
        Markup('<path class="alert" d="{}"/>').format(_at(_DIAMOND, float(across(_number(np.array([at])))[0]), y))
    )
    return _svg(frame, label, parts)


# --- parts -----------------------------------------------------------------------------------------------------------

_DIAMOND = ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0))
_SQUARE = ((-4, -4), (4, -4), (4, 4), (-4, 4))


@dataclass(frozen=True)
class _Axis:
    """From numbers to places."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, numbers: Array) -> Array:
        room = (self.high - self.low) or 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            share = np.clip((np.asarray(numbers, float) - self.low) / room, 0.0, 1.0)
        return np.asarray(self.begin + share * (self.end - self.begin))


def _number(times: Array) -> Array:
    return np.asarray(times.astype("datetime64[us]").astype(np.int64).astype(float))


def _span(*times: Array) -> tuple[float, float] | None:
    known = _number(np.concatenate(times))
    if not len(known):
        return None
    first, last = float(known.min()), float(known.max())
    margin = (last - first) * 0.015 or 3.6e9  # an hour around a single bucket
    return first - margin, last + margin


def _limits(values: Array, band: dict[str, Array]) -> tuple[float, float]:
    """Return limits that hold all values; a far wider range is cut off rather than flatten them."""
    drawn = np.concatenate([values, band.get("expected", np.empty(0))])
    drawn = drawn[np.isfinite(drawn)]
    low, high = float(drawn.min()), float(drawn.max())
    reach = high - low or math.inf
    wide = np.concatenate([np.empty(0), *(band[name] for name in ("lower", "upper") if name in band)])
    if np.isfinite(wide).any():
        inside = wide[np.isfinite(wide)]
        low, high = max(min(low, inside.min()), low - reach), min(max(high, inside.max()), high + reach)
    if not high - low > 1e-300:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    room = (high - low) * 0.07
    return float(low - room), float(high + room)


def _ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return round numbers within the limits, evenly spaced."""
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough)) if rough > 1e-300 else rough
    step = next((size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough), rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [n * step for n in range(first, min(last, first + 12) + 1)]


def _grid(frame: Frame, up: _Axis, ticks: Sequence[float]) -> list[Markup]:
    scale, parts = Scale.of(ticks), []
    for tick, y in zip(ticks, up(np.array(ticks)), strict=True):
        parts.append(_line(frame.left, y, frame.width - frame.right, y, "grid"))
        parts.append(_text(frame.left - 6, y + 3.5, scale.tick(tick), "end"))
    return parts


def _time_axis(frame: Frame, across: _Axis, timezone: str) -> list[Markup]:
    ends = to_local(np.array([across.low, across.high]).astype("datetime64[us]"), timezone)
    local, texts = _time_ticks(ends[0], ends[1], frame.ticks)
    places = across(_number(to_utc(local, timezone)))
    room = 22 if frame.ticks < 6 else 30
    return [
        _text(x, frame.height - 4, text, "mid")
        for x, text in zip(places, texts, strict=True)
        if frame.left + room / 3 <= x <= frame.width - room
    ]


def _time_ticks(first: np.datetime64, last: np.datetime64, most: int) -> tuple[Array, list[str]]:
    """Return round moments of the clock between two, and what to write at each."""
    minutes = float((last - first) / np.timedelta64(1, "m"))
    step = next((n for n in _MINUTES if minutes / n <= most), None)
    if step is None:
        months = next((n for n in _MONTH_STEPS if minutes / (n * 43_830) <= most), _MONTH_STEPS[-1])
        epoch = 1970 * 12  # counted from the year 0, so that decades and centuries are round
        begin = (first.astype("datetime64[M]").astype(int) + epoch) // months * months - epoch
        found = np.arange(begin, last.astype("datetime64[M]").astype(int) + 1, months).astype("datetime64[M]")
        texts = [f"{_MONTHS[int(month) % 12]} {1970 + int(month) // 12}" for month in found.astype(int)]
    else:
        unit = np.timedelta64(step, "m").astype("timedelta64[us]").astype(int)
        begin = -(-first.astype(int) // unit) * unit
        found = np.arange(begin, last.astype(int) + 1, unit).astype("datetime64[us]")
        texts = [_named(moment.item(), step) for moment in found]
    return found.astype("datetime64[us]"), texts


def _named(moment: Any, step: int) -> str:
    day = f"{moment.day} {_MONTHS[moment.month - 1]}"
    return day if step >= 1440 or (moment.hour, moment.minute) == (0, 0) else f"{moment:%H:%M}"


def _scores(picture: Picture, frame: Frame, across: _Axis, up: _Axis) -> list[Markup]:
    right, low, high = frame.width - frame.right, float(up.begin), float(up.end)
    parts = [_line(frame.left, low, right, low, "axis"), _line(frame.left, high, right, high, "grid")]
    parts += [_text(frame.left - 6, y + 3.5, text, "end") for y, text in ((high, "1"), (low, "0"))]
    if not np.isfinite(picture.scores).any():
        return [*parts, _text((frame.left + right) / 2, (low + high) / 2 + 4, "no scores yet", "mid")]
    y = float(up(np.array([picture.threshold]))[0])
    times, scores = with_gaps(picture.grain, picture.score_times, picture.scores)
    return [*parts, _path(across(_number(times)), up(scores), "score"), _line(frame.left, y, right, y, "threshold")]


def _marks(
    picture: Picture, marked: Array, shape: Sequence[tuple[float, float]], name: str, across: _Axis, up: _Axis
) -> list[Markup]:
    """Mark buckets, one without a value at the panel's lower edge; hovering over a mark says what it is."""
    at = np.searchsorted(picture.times, marked)
    parts = []
    for time, x, place in zip(marked, across(_number(marked)), at, strict=True):
        there = place < len(picture.times) and picture.times[place] == time and np.isfinite(picture.values[place])
        y = float(up(picture.values[place : place + 1])[0]) if there else up.begin
        local = to_local(np.array([time]), picture.timezone)[0].item()
        said = f"{name}, {local.day} {_MONTHS[local.month - 1]} {local:%Y %H:%M}"
        kind = "alert" if shape is _DIAMOND else "change"
        mark = Markup('<path class="{}" d="{}"><title>{}</title></path>')
        parts.append(mark.format(kind, _at(shape, float(x), y), said))
    return parts


def _at(shape: Sequence[tuple[float, float]], x: float, y: float) -> str:
    return "M" + "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in shape) + "Z"


def _runs(known: NDArray[np.bool_]) -> list[slice]:
    """Return the stretches without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _path(x: Array, y: Array, name: str) -> Markup:
    """Return a line that breaks where there is no number; a value alone is a dot."""
    drawn = []
    for run in _runs(np.isfinite(y)):
        places = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run].tolist(), y[run].tolist(), strict=True)]
        drawn.append("M" + "L".join(places if len(places) > 1 else places * 2))
    return Markup('<path class="{}" d="{}"/>').format(name, "".join(drawn))


def _area(x: Array, lower: Array, upper: Array) -> Markup:
    drawn = []
    for run in _runs(np.isfinite(lower) & np.isfinite(upper)):
        there = zip(x[run].tolist(), upper[run].tolist(), strict=True)
        back = zip(x[run][::-1].tolist(), lower[run][::-1].tolist(), strict=True)
        drawn.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in (*there, *back)) + "Z")
    return Markup('<path class="range" d="{}"/>').format("".join(drawn))


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return Markup('<path class="{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(name, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, name: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(name, x, y, text)


def _svg(frame: Frame, label: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">').format(
        frame.width, frame.height, escape(label)
    )
    return head + Markup("").join(parts) + Markup("</svg>")
