"""The regular grid that a metric's buckets lie on, and the calendar slots of its columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain, to_local, to_utc
from anomstack_provider.detection.series import Times

_HOUR, _DAY = 3_600_000_000, 86_400_000_000
# Readings whose steps are so near to multiples of the usual one, nearly all of them, come in regular time.
_NEAR, _MOSTLY = 0.1, 0.9
# Steps that are so near to a usual length are of that length; with so many columns a reading they are bursts.
_SAME, _SPARSE = 0.01, 20
_LENGTHS = [n * 60_000_000 for n in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 10_080)]
ORDER, ELAPSED, DAYS, MONTHS = "order", "elapsed", "days", "months"

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """
    Where buckets lie.

    :param kind: ``elapsed`` time, local ``days``, local ``months``, or the mere ``order`` of irregular readings.
    :param step: length of a bucket in microseconds, in days, in months; for readings the usual distance.
    :param origin: distance of the grid from 1970 in UTC, less than a step, in the unit of ``step``.
    """

    kind: str
    step: int
    origin: int

    @property
    def microseconds(self) -> int:
        """Usual length of a bucket, a month 30 days."""
        return self.step * {DAYS: _DAY, MONTHS: 30 * _DAY}.get(self.kind, 1)

    def positions(self, times: Times, timezone: str) -> Positions:
        """Return the column of each time, increasing; two readings within half a step share one."""
        if self.kind == ORDER:
            return np.arange(len(times))
        if self.kind == ELAPSED:
            return np.asarray((times.astype(np.int64) - self.origin + self.step // 2) // self.step)
        local = to_local(times, timezone)
        unit = "datetime64[D]" if self.kind == DAYS else "datetime64[M]"
        return np.asarray((local.astype(unit).astype(np.int64) - self.origin) // self.step)

    def times(self, positions: Positions, timezone: str) -> Times:
        """Return where the buckets of these columns begin, for a grid that is more than an order."""
        if self.kind == ELAPSED:
            return np.asarray(positions * self.step + self.origin).astype("datetime64[us]")
        unit = "datetime64[D]" if self.kind == DAYS else "datetime64[M]"
        local = np.asarray(positions * self.step + self.origin).astype(unit).astype("datetime64[us]")
        return to_utc(local, timezone)


def grid_of(times: Times, grain: Grain, timezone: str) -> Grid:
    """Return the grid of a metric's training points, of which there are at least two."""
    if grain.unit in ("min", "h"):
        step = int(grain.nominal.astype(np.int64))
        return Grid(ELAPSED, step, int(times[0].astype(np.int64)) % step)
    if grain.unit in ("d", "w", "mo"):
        unit = "datetime64[M]" if grain.unit == "mo" else "datetime64[D]"
        step = grain.count * (7 if grain.unit == "w" else 1)
        first = int(to_local(times[:1], timezone)[0].astype(unit).astype(np.int64))
        return Grid(MONTHS if grain.unit == "mo" else DAYS, step, first % step)
    steps = np.diff(times).astype(np.int64)
    usual = max(int(np.median(steps)), 1)
    # A clock that is a little off keeps the time of the job that reads it: a day is a day, and stays one.
    usual = next((length for length in _LENGTHS if abs(usual - length) < _SAME * length), usual)
    turns = steps / usual
    regular = (np.abs(turns - np.round(turns)) < _NEAR) & (turns > 0.5)
    # Bursts with long pauses are no more on a grid than what has no step at all, and it would be a huge one.
    sparse = float(turns.sum()) > _SPARSE * len(times)
    if sparse or float(regular.mean()) < _MOSTLY:
        return Grid(ORDER, usual, 0)
    return Grid(ELAPSED, usual, int(times[0].astype(np.int64)) % usual)


@dataclass(frozen=True)
class Slots:
    """
    The calendar slots of some buckets: for each season, coarse to fine, the slot of each bucket.

    :param keys: int arrays of shape (n,).
    :param sizes: number of slots of each season.
    :param least: with fewer visits a slot of the season has no median of its own.
    :param per_visit: how many buckets fall into a slot each time the calendar comes round to it.
    """

    keys: tuple[NDArray[np.int64], ...]
    sizes: tuple[int, ...]
    least: tuple[int, ...] = ()
    per_visit: int = 1


def slots_of(grid: Grid, times: Times, timezone: str, weekday: NDArray[np.int8] | None = None) -> Slots:
    """
    Return the slots of buckets that begin at ``times``.

    Below a day: hour of day, of weekdays and of weekends, hour of week; hours are those of the zone's clock, of UTC's
    for buckets of several. Days: day of week, day of month. Months: month of year. Weeks and irregular readings of more
    than a day have none.

    :param weekday: weekday to take a bucket for, Monday 0; its own where negative.
    """
    local = to_local(times, timezone).astype(np.int64)
    # The column of a bucket of several hours that begins at midnight may lie an hour before, once the clocks changed.
    days = (local + (_HOUR if _HOUR < grid.microseconds < _DAY else 0)) // _DAY
    day = (days + 3) % 7  # 1970-01-01 was a Thursday
    if weekday is not None:
        day = np.where(weekday >= 0, weekday, day)
    if grid.microseconds < _DAY:
        # By the clock of UTC, buckets of several hours keep their slots when the zone's changes.
        hour = (local if grid.step <= _HOUR else times.astype(np.int64)) // _HOUR % 24
        return Slots(
            (hour, np.where(day >= 5, 24, 0) + hour, day * 24 + hour),
            (24, 48, 168),
            (3, 3, 3),
            max(_HOUR // grid.step, 1),
        )
    if grid.microseconds == _DAY:
        dates = days.astype("datetime64[D]")
        day_of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64)
        # Half a year of months: two storms on the eighth make no season.
        return Slots((day, day_of_month), (7, 31), (3, 6))
    if grid.kind == MONTHS and grid.step == 1:
        return Slots(((days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)) % 12,), (12,), (3,))
    return Slots((), ())
