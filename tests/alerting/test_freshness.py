from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomstack_provider.alerting.freshness import Gap, LateBatch, explained, gaps, may_be_late, of_batch
from anomstack_provider.detection.grain import infer_each

NEVER = np.datetime64("2100-01-01", "us")
HOUR = np.timedelta64(1, "h")


def stored(start: str, end: str, freq: str = "1h", tz: str = "UTC") -> np.ndarray:
    index = pd.date_range(start, end, freq=freq, inclusive="left", tz=tz).tz_convert("UTC").tz_localize(None)
    return index.to_numpy().astype("datetime64[us]")


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "us")


def without(times: np.ndarray, *spans: tuple[str, str]) -> np.ndarray:
    for start, end in spans:
        times = times[(times < at(start)) | (times >= at(end))]
    return times


def found(
    times: np.ndarray, until: object, tz: str = "UTC", after: timedelta | None = None, first: int = 0
) -> list[Gap]:
    grains = infer_each(times, tz, first)
    own = gaps(times, np.datetime64(until, "us"), grains, tz, after)
    assert after or not own or may_be_late(times, np.datetime64(until, "us"), grains)
    return own


def late(*args: object, **kwargs: object) -> list[list[str]]:
    """The late buckets of each silence, to the minute."""
    return [gap.late.astype("datetime64[m]").astype(str).tolist() for gap in found(*args, **kwargs)]


# --- one metric ------------------------------------------------------------------------------------------------------


def test_the_third_missing_bucket_of_a_steady_metric_is_late() -> None:
    times = stored("2024-01-01", "2024-01-05")
    assert late(times, "2024-01-05T02:59") == []
    assert late(times, "2024-01-05T03:00") == [["2024-01-05T02:00"]]
    assert late(times, "2024-01-05T05:30") == [["2024-01-05T02:00", "2024-01-05T03:00", "2024-01-05T04:00"]]
    (gap,) = found(times, "2024-01-05T05:30")
    assert (gap.last, gap.missing) == (at("2024-01-04T23:00"), at("2024-01-05T00:00"))
    assert (gap.lasts, gap.grain, gap.allowed) == (True, "1h", 2)


def test_a_silence_that_is_over_is_late_where_it_was() -> None:
    times = without(stored("2024-01-01", "2024-01-09"), ("2024-01-05", "2024-01-05T04:00"))
    (gap,) = found(times, "2024-01-09")
    assert gap.late.tolist() == [at("2024-01-05T02:00").item(), at("2024-01-05T03:00").item()]
    assert (gap.back, gap.over, gap.lasts) == (at("2024-01-05T04:00"), at("2024-01-05T05:00"), False)
    assert late(without(times, ("2024-01-07", "2024-01-07T02:00")), "2024-01-09") == late(times, "2024-01-09")


def test_less_than_thirty_points_tell_nothing() -> None:
    assert late(stored("2024-01-01", "2024-01-02T05:00"), "2024-01-09") == []
    assert len(late(stored("2024-01-01", "2024-01-02T06:00"), "2024-01-09")) == 1
    for n in range(4):
        assert late(stored("2024-01-01", "2024-01-02")[:n], "2024-01-09") == []


def test_nights_and_weekends_without_data_are_usual() -> None:
    times = stored("2024-01-01", "2024-03-02")
    hour = (times - times.astype("datetime64[D]")) // HOUR
    offices = times[(hour >= 8) & (hour < 18)]
    assert late(offices, "2024-03-02T08:00") == []
    # From the last bucket of a day to the first are 15 steps, half as much again is 22.5.
    (gap,) = found(offices, "2024-03-03")
    assert (gap.allowed, gap.late[0]) == (22, at("2024-03-02T16:00"))
    days = stored("2023-01-02", "2024-01-06", "1D")
    weekdays = days[(days.astype("datetime64[D]").astype(int) + 3) % 7 < 5]
    assert late(weekdays, "2024-01-09") == []  # Friday the 5th; Monday is a holiday
    assert late(weekdays, "2024-01-11") == [["2024-01-10T00:00"]]


def test_a_metric_with_pauses_is_known_after_four_weeks() -> None:
    times = stored("2024-01-01", "2024-04-01")
    hour, day = (times - times.astype("datetime64[D]")) // HOUR, times.astype("datetime64[D]").astype(int)
    offices = times[(hour >= 8) & (hour < 18) & ((day + 3) % 7 < 5)]
    assert late(offices, "2024-04-01") == []
    first_week = offices[offices < at("2024-01-06")]
    assert late(first_week, "2024-01-09T17:00") == []
    assert len(late(first_week, "2024-01-09T18:00")[0]) == 1  # four days after Friday's last bucket


def test_two_outages_do_not_make_a_third_usual() -> None:
    times = without(stored("2024-01-01", "2024-01-30"), ("2024-01-10", "2024-01-11"), ("2024-01-20", "2024-01-22"))
    assert len(late(times, "2024-01-30")) == 2
    assert [gap.allowed for gap in found(times, "2024-02-01")] == [2, 2, 2]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_days_follow_the_calendar_when_the_clocks_change(zone: str) -> None:
    times = stored("2024-01-15", "2024-03-08", "1D", zone)
    days = stored("2024-03-08", "2024-03-14", "1D", zone)  # New York's clocks jump on the 10th
    assert late(times, days[3] - 1, zone) == []
    (gap,) = found(times, days[3], zone)
    assert gap.late.tolist() == days[2:3].tolist()
    assert gap.ends.tolist() == days[3:4].tolist()
    (gap,) = found(np.r_[times, days[5:]], days[5], zone)
    assert (gap.late.tolist(), gap.back) == (days[2:5].tolist(), days[5])


def test_months_and_weeks() -> None:
    months = stored("2020-01-01", "2023-03-01", "MS")
    assert late(months, "2023-05-31T23:00") == []
    assert late(months, "2023-06-01") == [["2023-05-01T00:00"]]
    weeks = stored("2023-01-02", "2023-12-01", "W-MON")
    assert late(weeks, "2023-12-24") == []
    assert late(weeks, "2023-12-25") == [["2023-12-18T00:00"]]


def test_readings_are_late_after_more_than_their_own_usual_silence() -> None:
    rng = np.random.default_rng(0)
    jitter = rng.integers(0, 20_000_000, 300).astype("timedelta64[us]")
    readings = at("2024-01-01T00:00:07") + np.arange(300) * np.timedelta64(5, "m") + jitter
    end = readings[-1]
    assert late(readings, end + np.timedelta64(14, "m")) == []
    (gap,) = found(readings, end + np.timedelta64(21, "m"))
    assert (gap.grain, gap.last, len(gap.late)) == ("instant", end, 1)
    random = at("2024-01-01") + np.cumsum(rng.exponential(3e8, 3000)).astype("timedelta64[us]")
    assert late(random, random[-1]) == []
    assert late(random, random[-1] + np.timedelta64(4, "D")) == []
    assert len(late(random, random[-1] + np.timedelta64(5, "D"))[-1]) > 10


def test_a_duration_is_the_silence_after_the_newest_bucket() -> None:
    times = stored("2024-01-01", "2024-01-01T06:00")
    six = timedelta(hours=6)
    assert late(times, "2024-01-01T11:59", after=six) == []
    assert late(times, "2024-01-01T12:00", after=six) == [["2024-01-01T11:00"]]
    assert late(times, "2024-01-01T07:00", after=timedelta(minutes=5)) == [["2024-01-01T06:00"]]
    days = stored("2024-01-01", "2024-01-06", "1D")
    assert late(days, "2024-01-06T23:00", after=six) == []
    assert late(days, "2024-01-07", after=six) == [["2024-01-06T00:00"]]


def test_a_metric_that_never_comes_back_is_retired() -> None:
    times = stored("2024-01-01", "2024-01-05")
    (gap,) = found(times, "2030-01-01")
    assert (len(gap.late), gap.over) == (30 * 24, gap.ends[-1])
    (gap,) = found(np.r_[times, stored("2025-01-01", "2025-01-05")], "2025-01-05")
    assert (len(gap.late), gap.back) == (30 * 24, at("2025-01-01"))
    assert len(found(stored("2020-01-01", "2023-03-01", "MS"), "2099-01-01")[0].late) == 100


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([("1h", "UTC"), ("15min", "UTC"), ("1D", "America/New_York"), ("MS", "Europe/Berlin")]),
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 12)), max_size=8),
    st.data(),
)
def test_runs_in_any_order_find_what_one_finds(
    kind: tuple[str, str], spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    """What is late as of a moment is late ever after; each bucket as of its own end, with the points up to it."""
    freq, zone = kind
    full = pd.date_range("2020-02-20", periods=160, freq=freq, tz=zone).tz_convert("UTC").tz_localize(None)
    grid = full.to_numpy().astype("datetime64[us]")
    gone = {position + k for position, length in spans for k in range(length)}
    times = np.delete(grid, sorted(position for position in gone if position < 155))
    whole = {start for gap in found(times, grid[-1], zone) for start in gap.late.tolist()}
    assert not whole & set(times.tolist())
    for k in data.draw(st.lists(st.integers(1, 159), max_size=8)):
        known = times[times < grid[k]]
        then = {start for gap in found(known, grid[k], zone) for start in gap.late.tolist()}
        assert then == {start for start in whole if start < grid[k].item()}


# --- a batch ---------------------------------------------------------------------------------------------------------


def batch(metrics: dict[str, np.ndarray], until: object) -> tuple[dict[str, list[Gap]], LateBatch]:
    silent = {name: own for name, times in metrics.items() if (own := found(times, until))}
    return silent, of_batch(silent, metrics)


def told(whole: LateBatch) -> dict[Any, tuple[str, ...]]:
    """The late metrics of each bucket in which the batch is late."""
    return {
        start: names
        for start, names, late in zip(whole.times.tolist(), whole.metrics, whole.is_late, strict=True)
        if late
    }


def steady(*spans: tuple[str, str]) -> np.ndarray:
    return without(stored("2024-01-01", "2024-01-10"), *spans)


OUT = ("2024-01-05", "2024-01-05T05:00")


def test_half_of_the_metrics_and_two_are_the_batch() -> None:
    silent, whole = batch({"a": steady(OUT), "b": steady(OUT), "c": steady(), "d": steady()}, "2024-01-10")
    hours = [at(f"2024-01-05T0{hour}:00").item() for hour in (2, 3, 4)]
    assert told(whole) == dict.fromkeys(hours, ("a", "b"))
    assert whole.grain.tolist() == ["1h"] * 4
    assert whole.times.tolist() == [*hours, at("2024-01-05T05:00").item()]  # where data are back
    assert [whole.tells(gap).tolist() for gap in (*silent["a"], *silent["b"])] == [[True] * 3] * 2
    assert not batch({"a": steady(OUT), "b": steady(OUT), **{c: steady() for c in "cde"}}, "2024-01-10")[
        1
    ].is_late.any()
    assert not batch({"a": steady(OUT), "b": steady()}, "2024-01-10")[1].is_late.any()


def test_a_batch_of_one_metric_is_that_metric() -> None:
    silent, whole = batch({"a": steady(OUT)}, "2024-01-10")
    assert told(whole) == dict.fromkeys(silent["a"][0].late.tolist(), ("a",))


def test_one_metric_that_stays_away_longer_is_late_alone() -> None:
    longer = ("2024-01-05", "2024-01-05T08:00")
    silent, whole = batch({"a": steady(longer), "b": steady(OUT), "c": steady()}, "2024-01-10")
    assert list(told(whole)) == [at(f"2024-01-05T0{hour}:00").item() for hour in (2, 3, 4)]
    assert whole.tells(silent["a"][0]).tolist() == [True] * 3 + [False] * 3
    assert whole.times.tolist() == [at(f"2024-01-05T0{hour}:00").item() for hour in range(2, 9)]


def test_the_names_are_those_that_are_late_by_then() -> None:
    later = ("2024-01-05T01:00", "2024-01-05T06:00")
    _, whole = batch({"a": steady(OUT), "b": steady(OUT), "c": steady(later)}, "2024-01-10")
    assert list(told(whole).values()) == [("a", "b"), ("a", "b", "c"), ("a", "b", "c")]  # c is alone at 05:00


def test_a_metric_too_young_or_retired_is_none_that_lives() -> None:
    young = stored("2024-01-04", "2024-01-05T05:00")
    _, whole = batch({"a": steady(OUT), "b": young}, "2024-01-10")
    assert next(iter(told(whole).values())) == ("a",)
    retired = stored("2023-01-01", "2023-02-01")
    _, whole = batch({"a": steady(OUT), "b": retired}, "2024-01-10")
    assert list(told(whole).values())[-1] == ("a",)
    assert at("2024-01-05T02:00").item() in told(whole)


def test_hours_and_days_in_one_batch() -> None:
    days = without(stored("2023-01-01", "2024-01-10", "1D"), ("2024-01-03", "2024-01-08"))
    _, whole = batch({"a": steady(("2024-01-05", "2024-01-08")), "days": days}, "2024-01-10")
    hours = list(told(whole))
    assert hours[0] == at("2024-01-05T23:00").item()  # the third day is missing when it ends
    assert set(whole.grain[whole.is_late]) == {"1h"}
    assert (np.diff(np.array(hours, "datetime64[us]")) == HOUR).all()
    assert (whole.times[1:] >= whole.ends[:-1]).all()
    assert (whole.times[-1], whole.ends[-1], whole.grain[-1]) == (at("2024-01-08T01:00"), at("2024-01-09"), "1380min")


def test_nothing_is_nothing() -> None:
    whole = of_batch({}, {})
    assert len(whole.times) == len(whole.ends) == len(whole.metrics) == 0
    assert len(of_batch({}, {"a": steady()}).times) == 0


def test_a_silence_explains_its_buckets_and_the_first_after_it() -> None:
    (gap,) = found(steady(OUT), "2024-01-10")
    hours = stored("2024-01-04T22:00", "2024-01-05T08:00")
    mask = explained([gap], hours, hours + HOUR)
    assert hours[mask].tolist() == [at(f"2024-01-05T0{hour}:00").item() for hour in (2, 3, 4, 5)]
    six = stored("2024-01-04T18:00", "2024-01-05T18:00", "6h")
    assert explained([gap], six, six + 6 * HOUR).tolist() == [False, True, False, False]
    (gap,) = found(stored("2024-01-01", "2024-01-05"), "2024-01-06")
    assert explained([gap], hours, hours + HOUR).tolist() == [False] * 4 + [True] * 6
    assert explained([], hours, hours + HOUR).tolist() == [False] * 10


SILENCES = st.lists(st.tuples(st.integers(0, 150), st.integers(1, 12)), max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(SILENCES, min_size=1, max_size=4), st.lists(st.integers(1, 159), max_size=6))
def test_no_later_bucket_changes_when_the_batch_was_late(
    spans: list[list[tuple[int, int]]], moments: list[int]
) -> None:
    grid = stored("2024-01-01", "2024-01-07T16:00")
    metrics = {}
    for number, own in enumerate(spans):
        gone = {position + k for position, length in own for k in range(length)}
        metrics[str(number)] = np.delete(grid, sorted(position for position in gone if position < 155))
    _, whole = batch(metrics, grid[-1])
    said = told(whole)
    for k in moments:
        known = {name: times[times < grid[k]] for name, times in metrics.items()}
        _, then = batch(known, grid[k])
        assert told(then) == {start: names for start, names in said.items() if start < grid[k].item()}
