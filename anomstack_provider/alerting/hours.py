"""Hours of the week and maintenance windows on the clock of a time zone: how much of a bucket lies in them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.config.crons import cron_expression
from anomstack_provider.config.gates import Maintenance, hours
from anomstack_provider.config.values import as_utc
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Times

# Begins and ends in UTC, ``datetime64[us]``, in any order and perhaps overlapping.
_Spans = tuple[Times, Times]

_DAY = np.timedelta64(1, "D")


def in_hours(text: str, starts: Times, ends: Times, timezone: str) -> NDArray[np.timedelta64]:
    """Return how much of each bucket lies in hours such as ``Mon-Fri 08:00-20:00`` of a time zone, shape (n,)."""
    if not len(starts):
        return np.zeros(0, "timedelta64[us]")
    first, last = (grain.to_local(edge, timezone).astype("datetime64[D]")[0] for edge in (starts[:1], ends.max()[None]))
    days = np.arange(first - _DAY, last + _DAY)  # hours of the day before may end on this one
    weekdays = (days.astype(np.int64) + 3) % 7
    begins, closes = [], []
    for weekday, begin, end in hours(text):
        midnights = days[weekdays == weekday].astype("datetime64[us]")
        begins.append(grain.to_utc(midnights + np.timedelta64(begin, "m"), timezone))
        closes.append(grain.to_utc(midnights + np.timedelta64(end, "m"), timezone, last=True))
    return _covered((np.concatenate(begins), np.concatenate(closes)), starts, ends)


def in_maintenance(
    entries: Iterable[Maintenance], starts: Times, ends: Times, timezone: str
) -> NDArray[np.timedelta64]:
    """Return how much of each bucket lies in any of the maintenance windows, shape (n,)."""
    spans = [_spans(entry, starts, ends, timezone) for entry in entries]
    none = np.empty(0, "datetime64[us]")
    begins = np.concatenate([none, *(begin for begin, _ in spans)])
    closes = np.concatenate([none, *(close for _, close in spans)])
    return _covered((begins, closes), starts, ends)


def _spans(entry: Maintenance, starts: Times, ends: Times, timezone: str) -> _Spans:
    """Return the windows of one entry that may touch the buckets."""
    if entry.cron is None or entry.duration is None:
        assert entry.start is not None
        assert entry.end is not None
        edges = [as_utc(moment, timezone).replace(tzinfo=None) for moment in (entry.start, entry.end)]
        return np.array(edges[:1], "datetime64[us]"), np.array(edges[1:], "datetime64[us]")
    length = np.timedelta64(entry.duration)
    ticks: list[datetime] = []
    days = {
        day
        for begin, end in zip((starts - length).astype("datetime64[D]"), ends.astype("datetime64[D]"), strict=True)
        for day in np.arange(begin, end + _DAY).tolist()
    }
    for day in sorted(days):
        ticks += _ticks(entry.cron, timezone, datetime(day.year, day.month, day.day, tzinfo=UTC))
    closes = [tick + entry.duration for tick in ticks]
    return np.array(ticks, "datetime64[us]"), np.array(closes, "datetime64[us]")


@lru_cache(maxsize=4096)
def _ticks(cron: str, timezone: str, day: datetime) -> tuple[datetime, ...]:
    """Return the ticks of a cron within 24 hours, naive UTC."""
    from croniter import croniter

    found = []
    ticks = croniter(cron_expression(cron), (day - timedelta(seconds=1)).astimezone(ZoneInfo(timezone)))
    while (tick := ticks.get_next(datetime).astimezone(UTC)) < day + timedelta(days=1):
        found.append(tick.replace(tzinfo=None))
    return tuple(found)


def _covered(spans: _Spans, starts: Times, ends: Times) -> NDArray[np.timedelta64]:
    """Return how much of each bucket the spans cover together."""
    order = np.argsort(spans[0], kind="stable")
    begins, closes = spans[0][order], np.maximum.accumulate(spans[1][order])
    # What an earlier span covers already is cut off, so that the spans do not overlap.
    begins[1:] = np.maximum(begins[1:], closes[:-1])
    lengths = np.maximum(closes - begins, np.timedelta64(0, "us"))
    total = np.concatenate([np.zeros(1, "timedelta64[us]"), np.cumsum(lengths)])

    def until(moments: Times) -> NDArray[np.timedelta64]:
        """Return how much is covered before each moment."""
        begun = np.searchsorted(begins, moments, side="left")
        newest = np.maximum(begun - 1, 0)
        if not len(begins):
            return np.zeros(len(moments), "timedelta64[us]")
        over = np.maximum(closes[newest] - moments, np.timedelta64(0, "us"))
        return np.where(begun > 0, total[begun] - np.minimum(over, lengths[newest]), np.timedelta64(0, "us"))

    return until(ends) - until(starts)
