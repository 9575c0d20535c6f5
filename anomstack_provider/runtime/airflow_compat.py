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
    from airflow.sdk import Context

__all__ = ["AirflowFailException", "AirflowSkipException", "CronDataIntervalTimetable", "asset_events_since"]


def asset_events_since(context: Context, inlet: int, moment: datetime) -> Sequence[Any]:
    """
    Return the recorded events of one of the task's inlets.

    :param inlet: its position among them; an alias itself is no key on Airflow 3.1.
    :param moment: an aware time; earlier events are left out where Airflow can (3.2 on), else all are returned.
    """
    events: Any = context["inlet_events"][inlet]
    return list(events.after(moment.isoformat()) if hasattr(events, "after") else events)
