from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.detection.grain import INSTANT, Grain, infer, infer_each, parse


def times(start: str, periods: int, freq: str, tz: str = "UTC") -> np.ndarray:
    index = pd.date_range(start, periods=periods, freq=freq, tz=tz).tz_convert("UTC").tz_localize(None)
    return index.to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize(
    ("freq", "expected"),
    [("1min", "1min"), ("15min", "15min"), ("1h", "1h"), ("6h", "6h"), ("1D", "1d"), ("W-MON", "1w"), ("MS", "1mo")],
)
def test_the_step_of_aligned_timestamps_is_the_grain(freq: str, expected: str) -> None:
    assert str(infer(times("2024-01-01", 30, freq), "UTC")) == expected


def test_a_few_gaps_do_not_change_the_grain() -> None:
    assert str(infer(np.delete(times("2024-01-01", 30, "1h"), [5, 6, 20]), "UTC")) == "1h"


def test_readings_at_odd_moments_have_no_grain() -> None:
    odd = times("2024-01-01 00:00:07", 30, "1h")
    assert infer(odd, "UTC") == INSTANT
    assert infer(times("2024-01-01", 2, "1h"), "UTC") == INSTANT
    assert infer(np.empty(0, "datetime64[us]"), "UTC") == INSTANT


def test_hours_and_days_of_utc_are_that_in_any_zone() -> None:
    assert str(infer(times("2024-01-01", 30, "1h"), "Asia/Kolkata")) == "1h"
    assert str(infer(times("2024-01-01", 30, "6h"), "Europe/Berlin")) == "6h"
    assert str(infer(times("2024-02-20", 40, "1D"), "America/New_York")) == "1d"


def test_a_stray_row_does_not_make_readings_of_hours() -> None:
    stray = np.sort(np.r_[times("2024-01-01", 30, "1h"), np.array(["2024-01-02T01:17"], "datetime64[us]")])
    assert str(infer(stray, "UTC")) == "1h"


def test_days_of_a_zone_are_days_there_and_not_in_utc() -> None:
    new_york = times("2024-02-20", 40, "1D", "America/New_York")  # spans the change of 10 March
    assert str(infer(new_york, "America/New_York")) == "1d"


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    starts = np.array(["2024-03-10T05:00", "2024-11-03T04:00", "2024-06-01T04:00"], "datetime64[us]")
    ends = parse("1d").ends(starts, "America/New_York")
    assert ((ends - starts) / np.timedelta64(1, "h")).tolist() == [23, 25, 24]


def test_a_month_ends_with_the_calendar() -> None:
    starts = np.array(["2024-01-01", "2024-02-01", "2023-02-01"], "datetime64[us]")
    assert parse("1mo").ends(starts, "UTC").astype("datetime64[D]").astype(str).tolist() == [
        "2024-02-01",
        "2024-03-01",
        "2023-03-01",
    ]


def test_a_reading_is_closed_once_it_is_taken() -> None:
    starts = times("2024-01-01 00:00:07", 3, "1h")
    assert (parse("instant").ends(starts, "UTC") == starts + np.timedelta64(1, "us")).all()


@pytest.mark.parametrize("text", ["", "0h", "h1", "1y", "-1d", "hourly"])
def test_what_is_no_grain_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a count and one of min, h, d, w, mo"):
        parse(text)


@given(st.integers(1, 90), st.sampled_from(["min", "h", "d", "w", "mo"]))
def test_what_is_printed_is_read_back(count: int, unit: str) -> None:
    assert parse(str(Grain(count, unit))) == Grain(count, unit)


@given(
    st.sampled_from(["1min", "15min", "1h", "6h", "1D", "W-MON", "MS"]),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
    st.sets(st.integers(0, 79), max_size=30),
    st.integers(0, 60),
)
def test_the_grain_of_each_timestamp_is_that_of_those_up_to_it(
    freq: str, zone: str, gone: set[int], first: int
) -> None:
    stored = np.delete(times("2024-02-20", 80, freq, zone), sorted(gone))
    first = min(first, len(stored))
    each = [infer(stored[: i + 1], zone) for i in range(len(stored))]
    assert infer_each(stored, zone, first) == each[first:]
    assert infer_each(stored[max(first - 21, 0) :], zone, min(first, 21)) == each[first:]
