"""What differs between the Airflow versions of the supported range, all in one place."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow 3.1
    from airflow.timetables.interval import CronDataIntervalTimetable  # type: ignore[assignment]

__all__ = ["AirflowFailException", "AirflowSkipException", "CronDataIntervalTimetable"]
