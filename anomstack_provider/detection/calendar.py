"""
What the calendar says of a metric's buckets: which weekday they are taken for, which never alert, which train nothing.

A bucket is in a holiday or an event if its start is. What the entries of a config mean is theirs to say (see
``config.calendar``); here they become intervals of UTC, once for all metrics that have the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.config.calendar import YEARS, Event, Holidays
from anomstack_provider.config.ics import occurrences
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.config.values import as_utc
from anomstack_provider.detection.series import Times

Entry: TypeAlias = Holidays | Event

# Start, first moment after the end, both aware UTC; name.
_Interval: TypeAlias = tuple[datetime, datetime, str]

OWN_WEEKDAY = -1


@dataclass(frozen=True)
class Marks:
    """
    What the calendar says of some buckets.

    :param weekday: weekday to take the bucket for, Monday 0 to Sunday 6; ``OWN_WEEKDAY`` for its own; int8, shape (n,).
    :param suppressed: whether the bucket never alerts, shape (n,).
    :param excluded: whether the bucket is a gap to training, shape (n,).
    """

    weekday: NDArray[np.int8]
    suppressed: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    _texts: NDArray[np.object_]
    _counts: NDArray[np.intp]

    @cached_property
    def notes(self) -> NDArray[np.object_]:
        """What to tell a reader of each bucket, such as ``Holiday: Christmas Day``; "" for most, shape (n,)."""
        return np.repeat(self._texts, self._counts)


@dataclass(frozen=True)
class Calendar:
    """The entries that hold for one metric. Of two that give a bucket a weekday the later one wins, events last."""

    entries: tuple[Entry, ...]

    @classmethod
    def for_metric(cls, spec: BatchSpec, metric_name: str) -> Calendar:
        """Return the calendar of one metric of the batch."""
        tags = spec.metric_tags.get(metric_name, {})
        entries: tuple[Entry, ...] = (*spec.holidays, *spec.events)
        return cls(tuple(entry for entry in entries if entry.covers(metric_name, tags)))

    def __hash__(self) -> int:
        return hash(len(self.entries))

    def weekdays(self, times: Times, timezone: str) -> NDArray[np.int8]:
        """Return the weekday to take each bucket for, Monday 0; ``OWN_WEEKDAY`` for its own."""
        return self.marks(times, timezone).weekday

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of any bucket."""
        return not self.entries

    def marks(self, times: Times, timezone: str) -> Marks:
        """
        Return what it says of the buckets that start at ``times``.

        :param times: ``datetime64[us]`` in UTC, increasing, shape (n,).
        :param timezone: IANA name of the zone whose days and wall clock the entries follow.
        """
        stretches = _stretches(self.entries, timezone, _years(times)) if self.entries else _NOTHING
        # The edges cut the times into runs of one stretch each; most runs are empty or long.
        cuts = np.searchsorted(times, stretches.edges)
        counts = np.diff(cuts, prepend=0, append=len(times))
        return Marks(
            np.repeat(stretches.weekday, counts),
            np.repeat(stretches.suppressed, counts),
            np.repeat(stretches.excluded, counts),
            stretches.notes,
            counts,
        )


@dataclass(frozen=True)
class _Stretches:
    """
    Time cut where anything begins or ends.

    :param edges: where, UTC, increasing, shape (k,).
    :param weekday: what holds before the first edge, between edges and after the last, shape (k + 1,), as the others.
    """

    edges: Times
    weekday: NDArray[np.int8]
    suppressed: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    notes: NDArray[np.object_]

    @classmethod
    def blank(cls, edges: Times) -> _Stretches:
        """Return stretches of which nothing is said."""
        n = len(edges) + 1
        notes = np.full(n, "", object)
        return cls(edges, np.full(n, OWN_WEEKDAY, np.int8), np.zeros(n, bool), np.zeros(n, bool), notes)


_NOTHING = _Stretches.blank(np.empty(0, "datetime64[us]"))


def _years(times: Times) -> tuple[int, ...]:
    """Return the years (UTC) in which there are times; stray ones far from the others bring none in between."""
    if not len(times):
        return ()
    first, last = (int(moment.astype("datetime64[Y]").astype(np.int64)) + 1970 for moment in (times[0], times[-1]))
    years = np.arange(max(first, YEARS[0]), min(last, YEARS[1]) + 2)
    starts = (years - 1970).astype("datetime64[Y]").astype("datetime64[us]")
    return tuple(years[:-1][np.diff(np.searchsorted(times, starts)) > 0].tolist())


@lru_cache(maxsize=256)
def _stretches(entries: tuple[Entry, ...], timezone: str, years: tuple[int, ...]) -> _Stretches:
    """Return what the entries say of these years; of other years they may say anything."""
    spans = [(entry, *span) for entry in entries for span in _spans(entry, timezone, years)]
    starts = np.array([start.replace(tzinfo=None) for _, start, _, _ in spans], "datetime64[us]")
    ends = np.array([end.replace(tzinfo=None) for _, _, end, _ in spans], "datetime64[us]")
    cut = _Stretches.blank(np.unique(np.concatenate([starts, ends])))
    first, last = (np.searchsorted(cut.edges, moments) + 1 for moments in (starts, ends))
    names: list[dict[str, None]] = [{} for _ in cut.notes]
    for (entry, _, _, name), i, j in zip(spans, first.tolist(), last.tolist(), strict=True):
        if entry.weekday is not None:
            cut.weekday[i:j] = entry.weekday
        cut.suppressed[i:j] |= entry.suppresses
        cut.excluded[i:j] |= entry.excludes
        for position in range(i, j):
            names[position][name] = None
    cut.notes[:] = ["; ".join(filter(None, found)) for found in names]
    for array in (cut.weekday, cut.suppressed, cut.excluded, cut.notes):
        array.setflags(write=False)
    return cut


def _spans(entry: Entry, timezone: str, years: tuple[int, ...]) -> Iterator[_Interval]:
    """Yield the intervals of an entry that overlap one of the years, by UTC; each once."""
    seen: set[_Interval] = set()
    for year in years:
        for span in _in_year(entry, timezone, year):
            if span not in seen:
                seen.add(span)
                yield span


@lru_cache(maxsize=4096)
def _in_year(entry: Entry, timezone: str, year: int) -> tuple[_Interval, ...]:
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    found: list[_Interval]
    if isinstance(entry, Holidays):
        found = [span for near in (year - 1, year, year + 1) for span in _holidays_of(entry, timezone, near)]
    elif entry.ics is not None:
        # A day more on either side: a day of a zone ahead of UTC begins before it.
        day = timedelta(days=1)
        found = occurrences(entry.ics, begin - day, end + day, timezone)
    elif entry.yearly and entry.start is not None:
        nears = range(year - entry.start.year - 2, year - entry.start.year + 2)
        found = [(*entry.bounds(timezone, near), entry.name or "") for near in nears]
    else:
        found = [(*entry.bounds(timezone), entry.name or "")]
    return tuple(span for span in found if span[0] < end and span[1] > begin and span[0] < span[1])


@lru_cache(maxsize=4096)
def _holidays_of(entry: Holidays, timezone: str, year: int) -> tuple[_Interval, ...]:
    import holidays

    # Named in English, as the rest of a message is, whatever the language of the process that sends it.
    days = holidays.country_holidays(entry.country, entry.subdivision, years=year, expand=False, language="en_US")
    return tuple(
        (_midnight(day, timezone), _midnight(day + timedelta(days=1), timezone), f"Holiday: {name}")
        for day, name in sorted(days.items())
    )


def _midnight(day: date, timezone: str) -> datetime:
    return as_utc(datetime.combine(day, time()), timezone)
