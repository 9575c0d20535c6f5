"""Times for people: how messages and charts name a bucket, a moment and a length of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.detection.grain import Grain

# Not strftime: its names follow the locale of whatever process sends the message.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = {"d": "day", "w": "week", "mo": "month"}
_RHYTHMS = {"h": "hourly", "d": "daily", "w": "weekly", "mo": "monthly"}


def _parse(grain: str) -> Grain:
    from anomstack_provider.detection.grain import parse  # brings numpy, which no DAG file may load

    return parse(grain)


def lasted(alert: Alert, timezone: str) -> timedelta:
    """Return how long an event has lasted: from its first bucket to the end of the newest that fired."""
    first, last = first_bucket(alert), last_bucket(alert)
    return max((bucket_end(last, alert.grain, timezone) or last) - first, timedelta(0))


def first_bucket(alert: Alert) -> datetime:
    """Return the start of an event's first bucket that fired."""
    return alert.first_bucket or alert.bucket


def last_bucket(alert: Alert) -> datetime:
    """Return the start of an event's newest bucket that fired."""
    return alert.last_bucket or (first_bucket(alert) if alert.transition == "closed" else alert.bucket)


def duration(length: timedelta, grain: str = "instant") -> str:
    """
    Return a length of time: ``45 min``, ``3 h``, ``1 day 6 h``, ``9 days``; "" for none.

    :param grain: buckets of days and longer are counted in days, whatever hours the clocks gave or took.
    """
    if _parse(grain).unit in _UNITS:
        return _count(round(length / timedelta(days=1)), "day")
    minutes = round(length / timedelta(minutes=1))
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days:
        return _count(days, "day") + (f" {hours} h" if hours and days < 7 else "")
    if minutes >= 60:
        return f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{minutes} min" if minutes > 0 else ""


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def rhythm(grain: str) -> str:
    """Return how often a metric of that grain has a value: ``hourly``, ``every 15 min``; "" for readings."""
    found = _parse(grain)
    if found.unit == "instant":
        return ""
    if found.count == 1 and found.unit in _RHYTHMS:
        return _RHYTHMS[found.unit]
    return f"every {_count(found.count, _UNITS[found.unit]) if found.unit in _UNITS else f'{found.count} {found.unit}'}"


def bucket_short(bucket: datetime, grain: str, timezone: str) -> str:
    """Return a bucket as one names it: ``Fri 8 Feb``, ``Fri 8 Feb 14:00 EST``, ``week of Mon 4 Feb``."""
    start = bucket.astimezone(ZoneInfo(timezone))
    day = _day(start, year=False)
    unit = _calendar_unit(grain, start)
    if unit is None:
        return f"{day} {_clock(start)} {_zone(start)}"
    count, word = unit
    if count > 1:
        return f"{count} {word}s from {day}"
    return {"day": day, "week": f"week of {day}", "month": f"{_MONTHS[start.month - 1]} {start.year}"}[word]


def bucket_long(bucket: datetime, grain: str, timezone: str) -> str:
    """Return a bucket in full, with its year, both ends and the time zone."""
    start, end = bucket.astimezone(ZoneInfo(timezone)), bucket_end(bucket, grain, timezone)
    first, zone = _day(start), f" ({timezone})"
    if end is None:
        return f"{first}, {_clock(start)} {_zone(start)}" + (zone if timezone != "UTC" else "")
    unit = _calendar_unit(grain, start)
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


def same_bucket(earlier: datetime, bucket: datetime, grain: str, timezone: str) -> tuple[str, str]:
    """Return what an earlier season is called, ``Last week``, and its bucket, ``in the same hour (Fri 1 Feb ...)``."""
    days = (bucket - earlier) / timedelta(days=1)
    label = "Last week" if days < 10 else "Last month" if days < 40 else "Last year"
    found = _parse(grain)
    noun = {"h": "in the same hour", "d": "on the same day", "w": "in the same week", "mo": "in the same month"}
    where = noun.get(found.unit, "at the same time") if found.count == 1 else "at the same time"
    named = bucket_start(earlier, grain, timezone) if label == "Last year" else bucket_short(earlier, grain, timezone)
    return label, f"{where} ({named})"


def bucket_start(bucket: datetime, grain: str, timezone: str) -> str:
    """Return when a bucket begins, with its year; without the time of day where it begins with the day."""
    start = bucket.astimezone(ZoneInfo(timezone))
    return _day(start) if _calendar_unit(grain, start) else f"{_day(start)} {_clock(start)} {_zone(start)}"


def bucket_end(bucket: datetime, grain: str, timezone: str) -> datetime | None:
    """Return the end of a bucket in the given zone; None for a reading, which has no length."""
    import numpy as np

    found = _parse(grain)
    if found.unit == "instant":
        return None
    start = np.array([bucket.astimezone(UTC).replace(tzinfo=None)], "datetime64[us]")
    end: datetime = found.ends(start, timezone)[0].item()
    return end.replace(tzinfo=UTC).astimezone(ZoneInfo(timezone))


def _calendar_unit(grain: str, start: datetime) -> tuple[int, str] | None:
    """Return count and word of a bucket that follows the calendar; None where it begins within a day."""
    found = _parse(grain)
    if found.unit not in _UNITS or (start.hour, start.minute, start.second) != (0, 0, 0):
        return None
    if found.unit == "mo" and start.day != 1:
        return None
    return found.count, _UNITS[found.unit]


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
