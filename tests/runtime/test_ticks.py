from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from airflow.timetables.interval import CronDataIntervalTimetable
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.runtime.ticks import last_interval, last_tick, tick_at_or_after, tick_at_or_before

CRONS = ["*/5 * * * *", "0 * * * *", "0 6 * * *", "0 1 * * 1", "0 0 1 * *", "*/180 * * * *", "@daily", "@hourly"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_tick_is_before_and_the_window_is_half_open() -> None:
    assert last_tick("@daily", "UTC", at("2024-05-02")) == at("2024-05-01")
    assert tick_at_or_before("@daily", "UTC", at("2024-05-02")) == at("2024-05-02")
    assert tick_at_or_before("@daily", "UTC", at("2024-05-02T00:00:00.000001")) == at("2024-05-02")
    assert last_tick("@daily", "UTC", at("2024-05-02T00:00:00.5")) == at("2024-05-02")


def test_ticks_follow_the_clock_of_the_zone() -> None:
    assert last_tick("0 6 * * *", "America/New_York", at("2024-03-09T18:00")) == at("2024-03-09T11:00")
    assert last_tick("0 6 * * *", "America/New_York", at("2024-03-10T18:00")) == at("2024-03-10T10:00")


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Europe/London", "Asia/Kolkata"])
@pytest.mark.parametrize("cron", CRONS)
@given(minutes=st.integers(0, 366 * 24 * 60))
def test_the_last_interval_is_the_one_that_airflow_gives_a_manual_run(cron: str, timezone: str, minutes: int) -> None:
    moment = at("2024-01-02") + timedelta(minutes=minutes)
    theirs = CronDataIntervalTimetable(cron, timezone).infer_manual_data_interval(run_after=pendulum.instance(moment))
    assert last_interval(cron, timezone, moment) == (theirs.start, theirs.end)


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Europe/London", "Asia/Kolkata"])
@pytest.mark.parametrize("cron", CRONS)
@given(seconds=st.integers(0, 366 * 24 * 60 * 60))
def test_the_next_tick_ends_the_interval_that_holds_a_moment(cron: str, timezone: str, seconds: int) -> None:
    moment = at("2024-01-02") + timedelta(seconds=seconds)
    following = tick_at_or_after(cron, timezone, moment)
    assert last_tick(cron, timezone, following) < moment <= following
    assert tick_at_or_before(cron, timezone, following) == following
    assert tick_at_or_after(cron, timezone, following) == following
