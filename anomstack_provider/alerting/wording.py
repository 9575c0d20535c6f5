"""Words and numbers for people: how messages and charts write a name, a number, a distance and a bucket.

Plain text only; what has to be escaped is escaped where it is laid out (see ``message`` and ``chart``).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from anomstack_provider.alerting.alert import Alert

# Not strftime: its names follow the locale of whatever process sends the message.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_DIRECTION = {"up": "high", "down": "low"}
_UNITS = {"d": "day", "w": "week", "mo": "month"}
# From inside a name they could turn the rest of the line around, so a name brings none of its own.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")


def one_line(text: str) -> str:
    """Return the text on one line: control characters and line ends become a space."""
    kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if c not in _BIDI_CONTROLS)
    return " ".join("".join(kept).encode("utf-8", "replace").decode().split())


def elide(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, the middle left out: names of a batch differ at either end."""
    if len(text) <= limit:
        return text
    head, tail = text[: (limit - 1) // 2 + (limit - 1) % 2], text[len(text) - (limit - 1) // 2 :]
    # An accent, skin tone or joined emoji is not torn from the character that it belongs to.
    while tail and (unicodedata.combining(tail[0]) or tail[0] in _JOINERS):
        tail = tail[1:]
    while head and head[-1] in _JOINERS:
        head = head[:-1]
    return f"{head.rstrip()}…{tail.lstrip()}"


def isolated(text: str) -> str:
    """Return the text so that a right-to-left one does not pull the numbers behind it to its other side."""
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
    return text


def without_isolates(text: str) -> str:
    """Undo :func:`isolated`, for a place that has its own means (``<bdi>``) or draws the marks as boxes."""
    return text.replace(FIRST_STRONG_ISOLATE, "").replace(POP_ISOLATE, "")


def number(value: float, digits: int = 3) -> str:
    """Return a number with at least ``digits`` significant digits: 0.123, 12,345, 1.23 million, 4.5e-7."""
    if not math.isfinite(value):
        return "no value" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value == 0:
        return "0"
    rounded = abs(float(f"{value:.{digits - 1}e}"))
    if rounded >= 1e15 or rounded < 1e-4:
        mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if rounded >= 1e6:
        size, word = next((size, word) for size, word in _LARGE if rounded >= size)
        return f"{_plain(value / size, digits)} {word}"
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    """Write a number of moderate size: the whole part in full, then as many decimals as make ``digits``."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def numbers(*values: float) -> list[str]:
    """Return all numbers with as many digits (3 to 6) as it takes to tell apart those that differ."""
    for digits in range(3, 7):
        texts = [number(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            return texts
    return [number(value) for value in values]


def known(value: float | None) -> float | None:
    """Return the value unless it is no number."""
    return None if value is None or math.isnan(value) else value


def distance(value: float, expected: float) -> str:
    """Say how far a value is from the expected one: in percent or multiples, else in its own unit."""
    difference = value - expected
    if difference == 0:
        return "as expected"
    side = "above" if difference > 0 else "below"
    if expected != 0 and math.isfinite(difference):
        ratio, percent = value / expected, abs(difference / expected) * 100
        if ratio >= 10 and expected > 0:
            return f"{number(ratio, 2)} times expected"
        if percent < 1000:
            return f"{_percent(percent)} {side} expected"
    return f"{number(abs(difference))} {side} expected {number(expected)}"


def _percent(percent: float) -> str:
    """Return a positive percentage with two digits; never rounded to a 0 or a 100 that it is not."""
    if percent < 0.1:
        return "under 0.1 %"
    if 99.5 <= percent < 100:
        return "over 99 %"
    return f"{number(percent, 2)} %"


def deviation(alert: Alert) -> str:
    """Say in which direction and how far the value is from the expected one, for the first line."""
    unusual = f"unusually {_DIRECTION.get(alert.direction, alert.direction)}"
    expected = known(alert.expected)
    if expected is None or math.isnan(alert.value):
        return f"{unusual}, no value" if math.isnan(alert.value) else f"{unusual} at {number(alert.value)}"
    away = alert.value - expected
    if (alert.direction == "up" and away > 0) or (alert.direction == "down" and away < 0):
        return distance(alert.value, expected)
    # A smoothed score can cross its threshold one bucket late, when the value itself is back to normal.
    return f"{unusual} lately, now {distance(alert.value, expected)}"


def bucket_short(alert: Alert, timezone: str) -> str:
    """Return the bucket as one names it: ``Fri 8 Feb``, ``Fri 8 Feb 14:00 EST``, ``week of Mon 4 Feb``."""
    start = alert.bucket.astimezone(ZoneInfo(timezone))
    day = _day(start, year=False)
    unit = _calendar_unit(alert, start)
    if unit is None:
        return f"{day} {_clock(start)} {_zone(start)}"
    count, word = unit
    if count > 1:
        return f"{count} {word}s from {day}"
    return {"day": day, "week": f"week of {day}", "month": f"{_MONTHS[start.month - 1]} {start.year}"}[word]


def bucket_long(alert: Alert, timezone: str) -> str:
    """Return the bucket in full, with its year, both ends and the time zone."""
    start, end = alert.bucket.astimezone(ZoneInfo(timezone)), bucket_end(alert, timezone)
    first, zone = _day(start), f" ({timezone})"
    if end is None:
        return f"{first}, {_clock(start)} {_zone(start)}" + (zone if timezone != "UTC" else "")
    unit = _calendar_unit(alert, start)
    if unit is not None:
        count, word = unit
        if word == "day" and count == 1:
            return f"{first}, the whole day{zone}"
        if word == "month" and count == 1:
            return f"{_MONTHS[start.month - 1]} {start.year}, the whole month{zone}"
        return f"{first} to {_day(end - timedelta(days=1))}{zone}"
    same_day, same_zone = start.date() == end.date(), _zone(start) == _zone(end)
    left = f"{first}, {_clock(start)}" + ("" if same_zone else f" {_zone(start)}")
    right = ("" if same_day else f"{_day(end)}, ") + f"{_clock(end)} {_zone(end)}"
    return f"{left} to {right}" + (zone if timezone != "UTC" else "")


def bucket_end(alert: Alert, timezone: str) -> datetime | None:
    """Return the end of the bucket in the given zone; None for a reading, which has no length."""
    import numpy as np

    from anomstack_provider.detection.grain import parse

    grain = parse(alert.grain)
    if grain.unit == "instant":
        return None
    start = np.array([alert.bucket.astimezone(UTC).replace(tzinfo=None)], "datetime64[us]")
    end: datetime = grain.ends(start, timezone)[0].item()
    return end.replace(tzinfo=UTC).astimezone(ZoneInfo(timezone))


def _calendar_unit(alert: Alert, start: datetime) -> tuple[int, str] | None:
    """Return count and word of a bucket that follows the calendar; None where it begins within a day."""
    from anomstack_provider.detection.grain import parse

    grain = parse(alert.grain)
    if grain.unit not in _UNITS or (start.hour, start.minute, start.second) != (0, 0, 0):
        return None
    if grain.unit == "mo" and start.day != 1:
        return None
    return grain.count, _UNITS[grain.unit]


def _day(moment: datetime, *, year: bool = True) -> str:
    """Return ``Fri 8 Feb 2013``."""
    text = f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]}"
    return f"{text} {moment.year}" if year else text


def _clock(moment: datetime) -> str:
    """Return ``14:00``, with seconds only where there are any."""
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def _zone(moment: datetime) -> str:
    """Return the zone's short name; a zone that has just an offset, such as ``+03``, is told from UTC."""
    name = moment.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def tag_text(tags: Sequence[tuple[str, str]], limit: int = 20) -> str:
    """Return tags as ``airport: LGA, unit: share``; of more than ``limit`` the rest is counted."""
    shown = [isolated(elide(f"{one_line(key)}: {one_line(value)}", 120)) for key, value in tags[:limit]]
    return ", ".join(shown) + (f" and {len(tags) - limit} more" if len(tags) > limit else "")
