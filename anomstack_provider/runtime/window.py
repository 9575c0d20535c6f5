"""The half-open window of time that a run owns. The only place that reads the Airflow context for time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anomstack_provider.runtime.ticks import last_interval


@dataclass(frozen=True)
class RunWindow:
    """
    The window ``[start, end)`` of one run, aware datetimes in UTC.

    A run sees the world as of :attr:`as_of`, its end, whenever it really runs.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment.tzinfo is None:
                raise ValueError(f"the window's {name} {moment} has no time zone; give an aware datetime")
        if self.start >= self.end:
            raise ValueError(f"the window starts at {self.start}, not before its end {self.end}")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    @property
    def as_of(self) -> datetime:
        """The moment up to which this run sees data."""
        return self.end

    @classmethod
    def from_context(cls, context: Mapping[str, Any], cron: str, timezone: str) -> RunWindow:
        """
        Return the window of a run of any type.

        - Scheduled and backfill runs, and manual runs with a logical date: their data interval.
        - Runs that the command line started with a logical date, to which Airflow gives the interval of the present:
        the
          newest complete interval of ``cron`` at that date, as for such a run started by the API.
        - Runs without an interval (started without a logical date from the UI, API or CLI, by an asset event or by
          another DAG), and runs whose interval is empty (a bare cron string): the newest complete interval of
          ``cron`` at the end of that empty interval, else at ``run_after``.

        :param cron: the batch's ingest schedule, read in ``timezone``.
        """
        run = context["dag_run"]
        start, end = run.data_interval_start, run.data_interval_end
        if start is not None and end is not None and start < end:
            if run.logical_date is not None and run.logical_date < start:
                return cls(*last_interval(cron, timezone, run.logical_date))
            return cls(start, end)
        return cls(*last_interval(cron, timezone, end or run.run_after))
