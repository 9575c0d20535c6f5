"""The window of every kind of run, from run records as Airflow hands them to a task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.sdk.api.datamodels._generated import DagRun, DagRunType
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from hypothesis import example, given
from hypothesis import strategies as st

from anomstack_provider.runtime.window import RunWindow

DAILY = "0 0 * * *"
CRONS = ["*/3 * * * *", "*/15 * * * *", "0 * * * *", "30 6 * * *", "0 1 * * 1", "0 0 1 * *"]
ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]
moments = st.datetimes(datetime(2023, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def context(
    run_type: str,
    run_after: datetime,
    interval: tuple[datetime | None, datetime | None] = (None, None),
    logical_date: datetime | None = None,
) -> dict[str, Any]:
    """Return the part of a task's context that is about its run, with the class that Airflow uses for it."""
    fields: dict[str, Any] = {
        "dag_id": "d",
        "run_id": "r",
        "logical_date": logical_date,
        "data_interval_start": interval[0],
        "data_interval_end": interval[1],
        "run_after": run_after,
        "start_date": run_after,
        "end_date": None,
        "run_type": run_type,
        "state": "running",
        "consumed_asset_events": [],
    }
    if "partition_key" in DagRun.model_fields:  # Airflow 3.2 on, where it must be given
        fields["partition_key"] = None
    return {"dag_run": DagRun(**fields)}


def scheduled(timetable: Any, after: datetime) -> DagRunInfo:
    """Return the first run that a timetable schedules at or after a moment."""
    info = timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=pendulum.instance(after), latest=None, catchup=True),
    )
    assert info is not None
    return info


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_with_an_interval_owns_it_whenever_it_really_runs(run_type: str) -> None:
    interval = at("2024-05-01"), at("2024-05-02")
    found = RunWindow.from_context(context(run_type, at("2026-11-23T07:00"), interval, interval[0]), DAILY, "UTC")
    assert (found.start, found.end, found.as_of) == (*interval, at("2024-05-02"))


def test_the_interval_wins_over_the_batch_s_own_schedule() -> None:
    interval = at("2024-05-01T06:30"), at("2024-05-01T18:30")
    assert RunWindow.from_context(context("scheduled", at("2024-05-02"), interval), DAILY, "UTC") == RunWindow(
        *interval
    )


def test_a_manual_run_with_a_logical_date_owns_the_interval_that_airflow_inferred_for_it() -> None:
    logical = pendulum.datetime(2024, 5, 2, 13, 30)
    inferred = CronDataIntervalTimetable(DAILY, "UTC").infer_manual_data_interval(run_after=logical)
    found = RunWindow.from_context(
        context("manual", inferred.end, (inferred.start, inferred.end), logical), DAILY, "UTC"
    )
    assert found == RunWindow(at("2024-05-01"), at("2024-05-02"))


@pytest.mark.parametrize("run_type", [kind.value for kind in DagRunType])
def test_a_run_without_an_interval_owns_the_newest_complete_one(run_type: str) -> None:
    without = context(run_type, at("2024-05-02T13:37:11"))
    assert RunWindow.from_context(without, DAILY, "UTC") == RunWindow(at("2024-05-01"), at("2024-05-02"))
    assert RunWindow.from_context(without, "*/3 * * * *", "UTC") == RunWindow(
        at("2024-05-02T13:33"), at("2024-05-02T13:36")
    )


def test_a_run_at_a_tick_owns_the_interval_that_just_ended() -> None:
    on_the_hour = context("manual", at("2024-05-02T13:00"))
    assert RunWindow.from_context(on_the_hour, "0 * * * *", "UTC").end == at("2024-05-02T13:00")
    just_before = context("manual", at("2024-05-02T12:59:59.999999"))
    assert RunWindow.from_context(just_before, "0 * * * *", "UTC").end == at("2024-05-02T12:00")


def test_the_empty_interval_of_a_bare_cron_string_becomes_the_interval_before_it() -> None:
    info = scheduled(CronTriggerTimetable(DAILY, timezone="UTC"), at("2024-05-02"))
    assert info.data_interval.start == info.data_interval.end == at("2024-05-02")
    found = RunWindow.from_context(
        context("scheduled", info.run_after, (info.data_interval.start, info.data_interval.end)), DAILY, "UTC"
    )
    assert found == RunWindow(at("2024-05-01"), at("2024-05-02"))


def test_the_empty_interval_of_a_backfilled_run_counts_and_not_the_day_it_ran() -> None:
    day = at("2024-03-05")
    late = context("backfill", at("2026-11-23"), (day, day), day)
    assert RunWindow.from_context(late, DAILY, "UTC") == RunWindow(at("2024-03-04"), day)


def test_ticks_are_read_in_the_batch_s_time_zone() -> None:
    without = context("manual", at("2024-03-11T12:00"))
    found = RunWindow.from_context(without, DAILY, "America/New_York")
    assert found == RunWindow(at("2024-03-10T05:00"), at("2024-03-11T04:00"))  # 23 hours: the clocks went forward


def test_a_run_that_the_command_line_started_for_a_date_owns_the_interval_of_that_date() -> None:
    # Airflow gives it the newest interval there is now, whatever date it was started for.
    of_now = at("2026-11-22"), at("2026-11-23")
    late = context("manual", at("2026-11-23T07:00"), of_now, at("2024-03-05T13:30"))
    assert RunWindow.from_context(late, DAILY, "UTC") == RunWindow(at("2024-03-04"), at("2024-03-05"))


def test_times_of_other_zones_become_utc() -> None:
    interval = tuple(datetime(2024, 5, day, tzinfo=ZoneInfo("America/New_York")) for day in (1, 2))
    found = RunWindow.from_context(context("scheduled", at("2024-05-03"), interval), DAILY, "UTC")
    assert (found.start.isoformat(), found.end.isoformat()) == (
        "2024-05-01T04:00:00+00:00",
        "2024-05-02T04:00:00+00:00",
    )
    assert found.start.tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "end", "complaint"),
    [
        (datetime(2024, 5, 1), at("2024-05-02"), "window's start .* has no time zone"),
        (at("2024-05-01"), datetime(2024, 5, 2), "window's end .* has no time zone"),
        (at("2024-05-02"), at("2024-05-02"), "not before its end"),
        (at("2024-05-03"), at("2024-05-02"), "not before its end"),
    ],
)
def test_what_is_no_window_is_refused(start: datetime, end: datetime, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RunWindow(start, end)


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("cron", CRONS)
@given(moment=moments)
@example(moment=datetime(2024, 3, 10, 7, 30, tzinfo=UTC))
@example(moment=datetime(2024, 11, 3, 6, 30, tzinfo=UTC))
def test_a_run_without_an_interval_sees_what_the_scheduled_run_of_that_moment_sees(
    cron: str, timezone: str, moment: datetime
) -> None:
    found = RunWindow.from_context(context("manual", moment), cron, timezone)
    assert found.start < found.end <= moment
    timetable = CronDataIntervalTimetable(cron, timezone)
    theirs = timetable.infer_manual_data_interval(run_after=pendulum.instance(moment))
    assert (found.start, found.end) == (theirs.start, theirs.end)
    following = scheduled(timetable, found.end)
    assert following.data_interval.start == found.end  # windows leave no gap and do not overlap
    assert following.data_interval.end > moment  # and this was the newest one that is complete


@given(start=moments, length=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)), after=moments)
def test_an_interval_is_never_changed(start: datetime, length: timedelta, after: datetime) -> None:
    given_interval = (start, start + length)
    for run_type in ("scheduled", "backfill", "manual"):
        found = RunWindow.from_context(context(run_type, after, given_interval, start), DAILY, "UTC")
        assert (found.start, found.end) == given_interval
