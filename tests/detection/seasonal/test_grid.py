from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.detection.grain import INSTANT, parse, to_local
from anomstack_provider.detection.seasonal.grid import DAYS, ELAPSED, MONTHS, ORDER, Grid, grid_of, slots_of
from anomstack_provider.detection.series import Times
from tests.detection.seasonal.conftest import times

pytestmark = pytest.mark.filterwarnings("error")

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def local_times(start: str, periods: int, freq: str, timezone: str) -> Times:
    index = pd.date_range(start, periods=periods, freq=freq, tz=timezone).tz_convert("UTC").tz_localize(None)
    return index.to_numpy().astype("datetime64[us]")


def jittered(moments: Times, seconds: float, seed: int = 0) -> Times:
    late = np.random.default_rng(seed).uniform(0, seconds * 1e6, len(moments)).astype(np.int64)
    return moments + late.astype("timedelta64[us]")


@pytest.mark.parametrize(
    ("grain", "start", "kind"),
    [
        ("1h", "2024-01-01", ELAPSED),
        ("1h", "2024-01-01T00:30", ELAPSED),
        ("5min", "2024-01-01T00:02", ELAPSED),
        ("1d", "2024-01-01", DAYS),
        ("1w", "2024-01-03", DAYS),
        ("1mo", "2023-11-01", MONTHS),
    ],
)
def test_buckets_in_a_row_have_columns_in_a_row_and_begin_there(grain: str, start: str, kind: str) -> None:
    moments = times(40, grain, start)
    grid = grid_of(moments, parse(grain), "UTC")
    assert grid.kind == kind
    columns = grid.positions(moments, "UTC")
    assert (np.diff(columns) == 1).all()
    assert (grid.times(columns, "UTC") == moments).all()


def test_every_part_of_a_metric_has_the_same_grid() -> None:
    for grain in ("1h", "5min", "1d", "1w", "1mo"):
        moments = times(50, grain)
        grids = {grid_of(moments[i:], parse(grain), BERLIN) for i in range(40)}
        assert len(grids) == 1


@pytest.mark.parametrize("timezone", ["UTC", BERLIN, NEW_YORK, "Asia/Kolkata"])
def test_days_of_a_zone_are_columns_in_a_row_when_the_clocks_change(timezone: str) -> None:
    moments = local_times("2024-01-01", 366, "1D", timezone)
    grid = grid_of(moments, parse("1d"), timezone)
    columns = grid.positions(moments, timezone)
    assert (np.diff(columns) == 1).all()
    assert (grid.times(columns, timezone) == moments).all()


@pytest.mark.parametrize(("change", "length"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_a_day_of_23_or_25_hours_has_so_many_columns_and_its_own_hours(change: str, length: int) -> None:
    moments = local_times("2024-01-01", 24 * 366, "1h", BERLIN)
    grid = grid_of(moments, parse("1h"), BERLIN)
    assert (np.diff(grid.positions(moments, BERLIN)) == 1).all()
    slots = slots_of(grid, moments, BERLIN)
    local = to_local(moments, BERLIN)
    mine = local.astype("datetime64[D]") == np.datetime64(change)
    assert mine.sum() == length
    hours = slots.keys[0][mine].tolist()
    assert hours == ([0, 1, *range(3, 24)] if length == 23 else [0, 1, 2, *range(2, 24)])
    assert (slots.keys[2][mine] == 6 * 24 + np.array(hours)).all()  # both are Sundays
    assert (slots.keys[1][mine] == 24 + np.array(hours)).all()


@pytest.mark.parametrize("timezone", [BERLIN, NEW_YORK, "Europe/Kyiv"])
@pytest.mark.parametrize("aligned", ["UTC", "local"])
@pytest.mark.parametrize("hours", [3, 4, 6, 8, 12])
def test_buckets_of_some_hours_keep_their_slots_when_the_clocks_change(hours: int, aligned: str, timezone: str) -> None:
    zone = timezone if aligned == "local" else "UTC"
    index = pd.date_range("2024-01-01", "2024-12-31", freq="1h", tz=zone)
    index = index[(index.hour % hours == 0) & ~index.tz_localize(None).duplicated()]
    moments = index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    grid = grid_of(moments, parse(f"{hours}h"), timezone)
    columns = grid.positions(moments, timezone)
    assert len(np.unique(columns)) == len(columns)
    slots = slots_of(grid, grid.times(columns, timezone), timezone)
    assert len(np.unique(slots.keys[0])) == 24 // hours
    hour = index.hour if aligned == "local" else to_local(moments, "UTC").astype("datetime64[h]").astype(int) % 24
    assert len({(int(a), int(b)) for a, b in zip(slots.keys[0], hour, strict=True)}) == 24 // hours
    if aligned == "local":
        for part in (slice(None), slice(len(moments) // 2, None)):  # trained in winter, in summer
            grid = grid_of(moments[part], parse(f"{hours}h"), timezone)
            slots = slots_of(grid, grid.times(grid.positions(moments, timezone), timezone), timezone)
            assert (slots.keys[2] // 24 == index.day_of_week).all()


def test_five_minutes_share_the_slots_of_their_hour() -> None:
    moments = times(12 * 24, "5min", "2024-01-06T00:02")
    slots = slots_of(grid_of(moments, parse("5min"), "UTC"), moments, "UTC")
    assert slots.per_visit == 12
    assert np.bincount(slots.keys[0]).tolist() == [12] * 24
    assert set(slots.keys[2].tolist()) == set(range(5 * 24, 6 * 24))


@pytest.mark.parametrize(("grain", "sizes"), [("1d", (7, 31)), ("1w", ()), ("1mo", (12,)), ("1h", (24, 48, 168))])
def test_slots_are_those_of_the_grain(grain: str, sizes: tuple[int, ...]) -> None:
    moments = times(800 if grain != "1mo" else 48, grain)
    slots = slots_of(grid_of(moments, parse(grain), "UTC"), moments, "UTC")
    assert slots.sizes == sizes
    for key, size in zip(slots.keys, slots.sizes, strict=True):
        assert set(key.tolist()) == set(range(size))


def test_a_day_has_its_weekday_and_day_of_month_and_a_month_its_number() -> None:
    day = np.array(["2024-02-29", "2024-03-01"], "datetime64[us]")  # Thursday, Friday
    assert [key.tolist() for key in slots_of(Grid(DAYS, 1, 0), day, "UTC").keys] == [[3, 4], [28, 0]]
    assert slots_of(Grid(MONTHS, 1, 0), day, "UTC").keys[0].tolist() == [1, 2]


def test_a_bucket_is_taken_for_the_weekday_that_the_calendar_gives() -> None:
    moments = times(48, "1h")  # Monday, Tuesday
    weekday = np.where(np.arange(48) < 24, -1, 6).astype(np.int8)
    slots = slots_of(grid_of(moments, parse("1h"), "UTC"), moments, "UTC", weekday)
    assert slots.keys[2].tolist() == [*range(24), *range(6 * 24, 7 * 24)]
    assert slots.keys[1].tolist() == [*range(24), *range(24, 48)]


# -- readings


@pytest.mark.parametrize(("step", "jitter"), [("1h", 120), ("5min", 10), ("1d", 2000), ("1w", 4000)])
def test_readings_that_a_job_takes_in_regular_time_keep_to_the_grid_for_long(step: str, jitter: float) -> None:
    moments = jittered(times(3000 if step != "1w" else 500, step, "2015-01-01T07:13:05"), jitter)
    grid = grid_of(moments[:200], INSTANT, "UTC")
    assert (grid.kind, grid.step) == (ELAPSED, int(parse(step).nominal.astype(np.int64)))
    assert (np.diff(grid.positions(moments, "UTC")) == 1).all()


def test_daily_readings_at_odd_moments_have_weekdays() -> None:
    moments = jittered(times(200, "1d", "2024-01-01T07:13:05"), 60)
    assert slots_of(grid_of(moments, INSTANT, "UTC"), moments, "UTC").sizes == (7, 31)


def test_readings_with_gaps_are_still_in_regular_time() -> None:
    moments = np.delete(jittered(times(300), 60), np.random.default_rng(0).choice(300, 40, replace=False))
    grid = grid_of(moments, INSTANT, "UTC")
    assert grid.kind == ELAPSED
    assert len(np.unique(grid.positions(moments, "UTC"))) == 260


def test_irregular_readings_are_in_mere_order() -> None:
    seconds = np.cumsum(np.random.default_rng(0).gamma(1, 3600, 300) + 1).astype(np.int64)
    moments = np.datetime64("2024-01-01", "us") + seconds * np.timedelta64(1, "s")
    grid = grid_of(moments, INSTANT, "UTC")
    assert grid.kind == ORDER
    assert grid.positions(moments, "UTC").tolist() == list(range(300))


def test_bursts_of_readings_do_not_make_a_column_of_each_second() -> None:
    bursts = (np.arange(60)[:, None] * 86_400 + np.arange(20)).ravel()
    moments = np.datetime64("2024-01-01", "us") + bursts * np.timedelta64(1, "s")
    assert grid_of(moments, INSTANT, "UTC").kind == ORDER


def test_two_readings_within_half_a_step_share_a_column() -> None:
    moments = np.sort(np.r_[times(100), times(100)[[50]] + np.timedelta64(20, "m")])
    columns = grid_of(moments, parse("1h"), "UTC").positions(moments, "UTC")
    assert (np.diff(columns) == 0).sum() == 1
    assert columns[50] == columns[51]
