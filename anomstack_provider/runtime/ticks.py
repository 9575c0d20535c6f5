"""Ticks of a cron expression in a time zone, as UTC datetimes. Plain Python: no Airflow, no wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from anomstack_provider.config.crons import cron_expression

_INSTANT = timedelta(microseconds=1)


@lru_cache(maxsize=16_384)
def last_tick(cron: str, timezone: str, before: datetime) -> datetime:
    """Return the newest tick strictly before an aware time."""
    from croniter import croniter

    # croniter works to the second: from inside a second, its own tick is an earlier one.
    whole = before.replace(microsecond=0)
    start = whole if whole == before else whole + timedelta(seconds=1)
    found: datetime = croniter(cron_expression(cron), start.astimezone(ZoneInfo(timezone))).get_prev(datetime)
    return found.astimezone(UTC)


def tick_at_or_before(cron: str, timezone: str, at: datetime) -> datetime:
    """Return the newest tick not after an aware time."""
    return last_tick(cron, timezone, at + _INSTANT)


@lru_cache(maxsize=16_384)
def tick_at_or_after(cron: str, timezone: str, at: datetime) -> datetime:
    """Return the oldest tick not before an aware time."""
    from croniter import croniter

    if tick_at_or_before(cron, timezone, at) == at:
        return at.astimezone(UTC)
    start = at.replace(microsecond=0).astimezone(ZoneInfo(timezone))
    found: datetime = croniter(cron_expression(cron), start).get_next(datetime)
    return found.astimezone(UTC)


def last_interval(cron: str, timezone: str, at: datetime) -> tuple[datetime, datetime]:
    """Return start and end of the newest interval between two ticks that is complete at an aware time."""
    end = tick_at_or_before(cron, timezone, at)
    return last_tick(cron, timezone, end), end
