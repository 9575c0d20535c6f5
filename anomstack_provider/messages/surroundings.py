"""What was known around an alert when its message was written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Surroundings:
    """
    What was known around an alert when its message was written; not part of the alert, which is a pure function.

    :param season_bucket: start of the same bucket a week before (a month or a year, for longer buckets), aware, UTC.
    :param season_value: the metric's value in that bucket.
    :param last_alert: when an event of this metric opened before this one, aware, UTC.
    :param upstream: what Airflow says of the DAG or asset that the data come from.
    """

    season_bucket: datetime | None = None
    season_value: float | None = None
    last_alert: datetime | None = None
    upstream: str | None = None
