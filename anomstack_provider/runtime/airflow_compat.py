"""What differs between the Airflow versions of the supported range, all in one place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow 3.1
    from airflow.timetables.interval import CronDataIntervalTimetable  # type: ignore[assignment]

if TYPE_CHECKING:
    from airflow.sdk import AssetAlias, Context

__all__ = ["AirflowFailException", "AirflowSkipException", "CronDataIntervalTimetable", "asset_events_since"]


def asset_events_since(context: Context, alias: AssetAlias, moment: datetime) -> Sequence[Any]:
    """
    Return the events emitted through an alias that is among the task's inlets.

    :param moment: an aware time; earlier events are left out where Airflow can (3.2 on), else all are returned.
    """
    events: Any = context["inlet_events"][alias]
    return list(events.after(moment.isoformat()) if hasattr(events, "after") else events)
