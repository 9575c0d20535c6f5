"""Times in every spelling and type that a source may give: the same instant to the microsecond, or refused by name."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anomstack_provider.config.values import as_utc, parse_moment
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.ingest import timestamps, wrangle
from anomstack_provider.store.rows import checked_rows

# A day from the calendar's edges, so that every zone's own time exists too.
EVER = {"min_value": dt.datetime(1, 1, 2), "max_value": dt.datetime(9999, 12, 30)}
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
FIXED = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))


@st.composite
def instants(draw: st.DrawFn) -> dt.datetime:
    """An aware time, in a named zone (with its hours that come twice or never) or at a fixed offset."""
    moment = draw(st.datetimes(**EVER))
    zone = draw(ZONES.map(ZoneInfo) | FIXED)
    return moment.replace(tzinfo=zone, fold=draw(st.integers(0, 1)))


def utc(moment: dt.datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(dt.UTC).replace(tzinfo=None), "us")


SPELLINGS: list[Any] = [
    lambda moment: moment,
    lambda moment: pd.Timestamp(moment),
    lambda moment: moment.astimezone(dt.UTC).isoformat(),
    lambda moment: moment.astimezone(dt.UTC).isoformat(sep=" ", timespec="microseconds"),
    lambda moment: moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0"),
    lambda moment: moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(),
    lambda moment: np.datetime64(moment.astimezone(dt.UTC).replace(tzinfo=None), "us"),
]


@given(instants(), st.integers(0, len(SPELLINGS) - 1))
@example(dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), 0)
@example(dt.datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")), 1)
@example(dt.datetime(1, 1, 2, tzinfo=dt.UTC), 2)
@example(dt.datetime(9999, 12, 30, tzinfo=dt.UTC), 0)
@example(dt.datetime(1600, 2, 29, 23, 59, 59, 999999, tzinfo=dt.UTC), 3)
def test_an_instant_in_any_form_is_itself(moment: dt.datetime, spelling: int) -> None:
    times, unreadable = timestamps(pd.Series([SPELLINGS[spelling](moment)], dtype=object))
    assert not unreadable.any()
    assert times.dtype == "datetime64[us]"
    assert times[0] == utc(moment)


@given(st.lists(st.tuples(instants(), st.integers(0, len(SPELLINGS) - 1)), min_size=2, max_size=5))
def test_forms_may_differ_from_row_to_row(rows: list[tuple[dt.datetime, int]]) -> None:
    times, unreadable = timestamps(pd.Series([SPELLINGS[form](moment) for moment, form in rows], dtype=object))
    assert not unreadable.any()
    assert list(times) == [utc(moment) for moment, _ in rows]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_columns_of_any_unit_and_zone(unit: str, zone: str | None) -> None:
    column = pd.Series(pd.DatetimeIndex(["1700-01-01 00:00:01", "2024-03-10 06:59:59", "2200-12-31"]).as_unit(unit))
    aware = column.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else column
    times, unreadable = timestamps(aware)
    assert not unreadable.any()
    assert list(times) == list(column.to_numpy().astype("datetime64[us]"))


ANYTHING = (
    st.text(max_size=30)
    | st.text("0123456789-:T.Z+ ", max_size=30)
    | st.none()
    | st.floats()
    | st.integers()
    | st.booleans()
    | st.binary(max_size=5)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.just(pd.NaT)
    | st.lists(st.integers(), max_size=2)
    | instants()
)


@given(st.lists(ANYTHING, min_size=1, max_size=4))
def test_anything_in_the_place_of_a_time_is_one_or_is_refused_beside_good_rows(odd: list[Any]) -> None:
    good = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    frame = pd.DataFrame(
        {
            "metric_timestamp": pd.Series([*odd, good], dtype=object),
            "metric_name": [*(f"odd{i}" for i in range(len(odd))), "good"],
            "metric_value": 1.0,
        }
    )
    answer = wrangle(frame, -1)
    kept = answer.rows.set_index("metric_name")["metric_timestamp"]
    assert kept["good"] == pd.Timestamp(2024, 5, 1)
    assert set(kept.index) | set(answer.refused) == set(frame["metric_name"])
    assert not set(kept.index) & set(answer.refused)
    assert len(checked_rows(answer.rows)) == len(kept)


@given(st.text(max_size=30) | st.text("0123456789-:T.Z+ W", max_size=30), ZONES)
def test_any_text_is_a_moment_of_the_config_or_a_value_error(text: str, zone: str) -> None:
    with suppress(ValueError):  # whatever else it raises fails this test
        assert as_utc(parse_moment(text), zone).utcoffset() == dt.timedelta(0)


@given(instants(), instants())
def test_a_window_of_any_two_instants_is_theirs_or_refused(start: dt.datetime, end: dt.datetime) -> None:
    if utc(start) < utc(end):
        window = RunWindow(start, end)
        assert (utc(window.start), utc(window.end)) == (utc(start), utc(end))
        assert window.start.utcoffset() == dt.timedelta(0)
    else:
        with pytest.raises(ValueError, match="not before its end"):
            RunWindow(start, end)
