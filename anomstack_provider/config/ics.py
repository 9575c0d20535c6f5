"""
The text of an iCalendar file (RFC 5545): whether it can be read, and which events it has in a period.

Its two libraries come with the extra ``ics`` and are imported when a batch has such a file, not before.
"""

from __future__ import annotations

from datetime import date, datetime, time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.values import as_utc

if TYPE_CHECKING:
    from recurring_ical_events import CalendarQuery

_BEGIN = "BEGIN:VCALENDAR"
# Of these a value that cannot be read is an error; other properties do not matter here.
_TIMES = {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"}
# Not those finer than an hour: they have nothing to say about metrics, and a year of one is millions of events.
_FREQUENCIES = {"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}


class NoICS(ValueError):
    """The libraries that read iCalendar files are not installed."""


def is_path(text: str) -> bool:
    """Whether a value of ``ics`` names a file; otherwise it is the text of one."""
    return "\n" not in text and _BEGIN not in text


@lru_cache(maxsize=256)
def check_ics(text: str) -> str:
    """Return ``text`` if it is an iCalendar file whose every event has a time; raises ``ValueError`` with the flaw."""
    if _BEGIN not in text:
        raise ValueError(f"is not an iCalendar file: it has no line {_BEGIN}")
    try:
        calendar, query = _read(text)
        for event in calendar.walk("VEVENT"):
            _check_event(event)
        query.between(date(2000, 1, 1), date(2000, 1, 2))
    except NoICS:
        raise
    except Exception as error:  # the parsers raise more than they declare
        reason = "an event has no DTSTART" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"cannot be read as an iCalendar file: {reason[:200]}") from None
    return text


def occurrences(text: str, start: datetime, end: datetime, timezone: str) -> list[tuple[datetime, datetime, str]]:
    """
    Return (start, end, name) of every event that overlaps ``start`` to ``end``, repeated ones written out.

    All times are aware UTC. A day of an event is one of ``timezone``; so is a time that names no zone. Cancelled
    events are left out.
    """
    found = []
    for event in _read(text)[1].between(start, end):
        if str(event.get("STATUS", "")).upper() != "CANCELLED":
            first, last = (_utc(event[key].dt, timezone) for key in ("DTSTART", "DTEND"))
            found.append((first, last, str(event.get("SUMMARY", ""))))
    return sorted(found)


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[Any, CalendarQuery]:
    try:
        import icalendar
        import recurring_ical_events
    except ImportError as error:
        raise NoICS(f"needs the extra ics: pip install 'anomstack-provider[ics]' ({error})") from error
    calendar: Any = icalendar.Calendar.from_ical(text)
    return calendar, recurring_ical_events.of(calendar)


def _check_event(event: Any) -> None:
    for moment in (event["DTSTART"], event.get("DTEND", event["DTSTART"])):
        if "TZID" in moment.params and isinstance(moment.dt, datetime) and moment.dt.tzinfo is None:
            raise ValueError(f"unknown time zone '{moment.params['TZID']}'")
    for name, reason in event.errors:
        if name in _TIMES:
            raise ValueError(f"{name}: {reason}")
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        how_often = {str(frequency).upper() for frequency in rule.get("FREQ", [])}
        if not how_often <= _FREQUENCIES or not how_often:
            raise ValueError(f"RRULE: expected FREQ to be one of {', '.join(sorted(_FREQUENCIES))}")
        if 0 in rule.get("INTERVAL", []):
            raise ValueError("RRULE: expected an INTERVAL of 1 or more")


def _utc(moment: date, timezone: str) -> datetime:
    return as_utc(moment if isinstance(moment, datetime) else datetime.combine(moment, time()), timezone)
