"""Which buckets lie in which holiday or event, on the clock of the batch's zone, and what that makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import calendar as module
from anomstack_provider.detection.calendar import OWN_WEEKDAY, Calendar, Marks

MONDAY, SUNDAY = 0, 6


def spec(**keys: Any) -> BatchSpec:
    return BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1", **keys})


def hours(start: str, end: str) -> np.ndarray:
    """Return the hours of UTC from a wall-clock hour to another, of UTC."""
    return np.arange(start, end, np.timedelta64(1, "h"), dtype="datetime64[us]")


def marks(times: np.ndarray, timezone: str = "UTC", metric: str = "m", **keys: Any) -> Marks:
    return Calendar.for_metric(spec(timezone=timezone, **keys), metric).marks(times, timezone)


def marked(found: Marks, times: np.ndarray) -> dict[str, tuple[str, str, int]]:
    """Return per note its first and last bucket and how many there are."""
    runs = {}
    for note in dict.fromkeys(found.notes.tolist()):
        mine = times[found.notes == note]
        runs[note] = (str(mine[0])[:16], str(mine[-1])[:16], len(mine))
    runs.pop("", None)
    return runs


def test_an_empty_calendar_says_nothing():
    calendar = Calendar.for_metric(spec(), "m")
    assert calendar.is_empty
    times = hours("2024-12-24", "2024-12-27")
    found = calendar.marks(times, "UTC")
    assert (found.weekday == OWN_WEEKDAY).all()
    assert not (found.suppressed | found.excluded).any()
    assert set(found.notes) == {""}
    assert found.weekday.shape == found.notes.shape == (72,)


def test_no_buckets_have_no_marks():
    found = marks(np.empty(0, "datetime64[us]"), holidays="DE")
    assert (len(found.weekday), len(found.suppressed), len(found.notes)) == (0, 0, 0)


# -- holidays


def test_a_holiday_is_a_sunday_on_the_clock_of_the_zone():
    times = hours("2023-12-24", "2023-12-28")
    found = marks(times, "America/New_York", holidays="US")
    assert marked(found, times) == {"Holiday: Christmas Day": ("2023-12-25T05:00", "2023-12-26T04:00", 24)}
    assert set(found.weekday[found.notes != ""]) == {SUNDAY}
    assert set(found.weekday[found.notes == ""]) == {OWN_WEEKDAY}
    assert found.weekday.dtype == np.int8
    assert not (found.suppressed | found.excluded).any()


def test_a_subdivision_has_holidays_of_its_own():
    days = np.arange("2024-01-01", "2025-01-01", dtype="datetime64[D]").astype("datetime64[us]")
    country, state = (marks(days, holidays=code).weekday == SUNDAY for code in ("DE", "DE-BY"))
    only = days[state & ~country].astype("datetime64[D]").astype(str).tolist()
    assert only == ["2024-01-06", "2024-05-30", "2024-11-01"]
    assert not (country & ~state).any()


def test_names_are_english_whatever_the_process_speaks(monkeypatch: pytest.MonkeyPatch):
    for name in ("LANG", "LANGUAGE", "LC_ALL"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    module._holidays_of.cache_clear()
    module._in_year.cache_clear()
    module._stretches.cache_clear()
    assert marks(hours("2031-10-03", "2031-10-04"), holidays="DE").notes[0] == "Holiday: German Unity Day"


@pytest.mark.parametrize(
    ("timezone", "first"), [("Pacific/Auckland", "2023-12-31T11:00"), ("Pacific/Honolulu", "2024-01-01T10:00")]
)
def test_a_holiday_at_the_turn_of_the_year_is_found_on_either_side_of_the_date_line(timezone: str, first: str):
    times = hours("2023-12-30", "2024-01-04")
    on_holiday = times[marks(times, timezone, holidays="US").weekday == SUNDAY]
    assert (on_holiday[0], len(on_holiday)) == (np.datetime64(first), 24)


# -- events


@pytest.mark.parametrize(
    ("day", "count"),
    [("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-01", 24)],
)
def test_a_day_has_as_many_hours_as_its_clock(day: str, count: int):
    times = hours("2024-01-01", "2025-01-01")
    found = marks(times, "Europe/Berlin", events=[{"name": "x", "start": day, "action": "suppress"}])
    assert found.suppressed.sum() == count
    assert found.notes[found.suppressed].tolist() == ["x"] * count


def test_an_hour_that_comes_twice_belongs_to_the_event_by_its_moment():
    times = hours("2024-10-26T22:00", "2024-10-27T04:00")  # 00:00 02:00 02:00 03:00 04:00 in Berlin
    event = {"name": "x", "start": "2024-10-27T00:30", "end": "2024-10-27T03:00", "action": "suppress"}
    found = marks(times, "Europe/Berlin", events=[event])
    assert found.suppressed.tolist() == [False, True, True, True, False, False]


def test_a_bucket_is_in_an_event_if_its_start_is():
    times = hours("2024-05-01T08:00", "2024-05-01T13:00")
    event = {"name": "x", "start": "2024-05-01T08:30", "end": "2024-05-01T11:00", "action": "suppress"}
    assert marks(times, events=[event]).suppressed.tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("dates", "found_in"),
    [
        ({"start": "2024-02-29"}, {2020: ["02-29"], 2023: [], 2024: ["02-29"], 2025: []}),
        ({"start": "2024-02-28", "end": "2024-02-29"}, {2023: ["02-28"], 2024: ["02-28", "02-29"], 2100: ["02-28"]}),
        ({"start": "2023-02-28", "end": "2023-03-01"}, {2023: ["02-28", "03-01"], 2024: ["02-28", "02-29", "03-01"]}),
        ({"start": "2023-12-31", "end": "2024-01-01"}, {2022: ["01-01", "12-31"], 2025: ["01-01", "12-31"]}),
        ({"start": "2023-01-01", "end": "2023-12-31"}, {2022: None, 2024: None}),
    ],
    ids=str,
)
def test_a_yearly_event_is_on_its_dates_of_every_year(dates: dict[str, str], found_in: dict[int, list[str] | None]):
    event = {"name": "x", "action": "exclude_from_training", "yearly": True, **dates}
    for year, expected in found_in.items():
        days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")
        found = marks(days.astype("datetime64[us]"), events=[event]).excluded
        assert [str(day)[5:] for day in days[found]] == ([str(d)[5:] for d in days] if expected is None else expected)


ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:1
SUMMARY:Maintenance
DTSTART;TZID=America/New_York:20240303T013000
DTEND;TZID=America/New_York:20240303T043000
RRULE:FREQ=WEEKLY;BYDAY=SU;COUNT=3
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Fair
DTSTART;VALUE=DATE:20220314
RRULE:FREQ=YEARLY
END:VEVENT
END:VCALENDAR
"""


def test_the_events_of_a_file_keep_their_own_zone_and_its_days_are_the_batchs():
    times = hours("2024-03-01", "2024-03-31")
    found = marks(times, "Europe/Berlin", events=[{"ics": ICS, "action": ["suppress", "treat_as: monday"]}])
    where = times[found.suppressed].astype("datetime64[m]").astype(str).tolist()
    maintenance = [text for text, note in zip(where, found.notes[found.suppressed], strict=True) if note != "Fair"]
    # 02:00, 03:00 and 04:00 in New York; on the 10th there is no 02:00.
    assert maintenance == [
        *("2024-03-03T07:00", "2024-03-03T08:00", "2024-03-03T09:00"),
        *("2024-03-10T07:00", "2024-03-10T08:00"),
        *("2024-03-17T06:00", "2024-03-17T07:00", "2024-03-17T08:00"),
    ]
    assert marked(found, times)["Fair"] == ("2024-03-13T23:00", "2024-03-14T22:00", 24)
    assert set(found.weekday[found.suppressed]) == {MONDAY}


# -- several at once


def test_of_two_weekdays_the_later_entry_holds_and_events_come_last():
    times = hours("2024-12-25", "2024-12-26")
    events = [
        {"name": "one", "start": "2024-12-25", "action": "treat_as: monday"},
        {"name": "two", "start": "2024-12-25T12:00", "end": "2024-12-26", "action": ["treat_as: friday", "suppress"]},
        {"name": "three", "start": "2024-12-25T12:00", "end": "2024-12-26"},
    ]
    found = marks(times, holidays="DE", events=events)
    assert found.weekday.tolist() == [0] * 12 + [4] * 12
    assert found.suppressed.tolist() == [False] * 12 + [True] * 12
    assert found.notes[0] == "Holiday: Christmas Day; one"
    assert found.notes[23] == "Holiday: Christmas Day; one; two; three"


def test_a_metric_has_the_entries_of_its_scope():
    tags = {"shop_de": {"country": "de"}, "shop_us": {"country": "us"}}
    keys = {
        "metric_tags": tags,
        "holidays": [{"country": "DE", "tags": {"country": "de"}}, {"country": "US", "tags": {"country": "us"}}],
        "events": [{"name": "x", "start": "2024-10-03", "metrics": ["other"]}],
    }
    batch = spec(**keys)
    times = hours("2024-10-03", "2024-10-04")
    notes = {name: Calendar.for_metric(batch, name).marks(times, "UTC").notes[0] for name in (*tags, "other", "none")}
    assert notes == {"shop_de": "Holiday: German Unity Day", "shop_us": "", "other": "x", "none": ""}
    assert not Calendar.for_metric(batch, "shop_us").is_empty
    assert Calendar.for_metric(batch, "none").is_empty


def test_metrics_of_one_scope_share_the_work(monkeypatch: pytest.MonkeyPatch):
    module._stretches.cache_clear()
    batch = spec(holidays="DE", timezone="Europe/Berlin")
    times = hours("2024-01-01", "2024-04-01")
    for number in range(100):
        Calendar.for_metric(batch, f"m{number}").marks(times, "Europe/Berlin")
    assert (module._stretches.cache_info().misses, module._stretches.cache_info().hits) == (1, 99)


def test_what_is_shared_cannot_be_changed_from_outside():
    times = hours("2024-12-24", "2024-12-27")
    first = marks(times, holidays="DE")
    first.weekday[:] = MONDAY
    first.suppressed[:] = True
    first.notes[:] = "changed"
    assert set(marks(times, holidays="DE").notes) == {
        "",
        "Holiday: Christmas Day",
        "Holiday: Second Day of Christmas",
    }


def test_a_stray_time_costs_no_centuries():
    times = np.array(["1700-01-01", "2000-01-01", "2024-12-25", "9999-12-31"], "datetime64[us]")
    assert module._years(times) == (2000, 2024)
    assert marks(times, holidays="DE").weekday.tolist() == [OWN_WEEKDAY, SUNDAY, SUNDAY, OWN_WEEKDAY]


HOURS = st.integers(0, 24 * 366)
EVENTS = st.tuples(HOURS, st.integers(1, 2000), st.sampled_from(["suppress", "exclude_from_training", "annotate"]))


@given(st.lists(EVENTS, max_size=8), st.sets(HOURS, max_size=20))
def test_marks_are_those_of_each_bucket_by_itself(events: list[Any], buckets: set[int]):
    begin = np.datetime64("2024-01-01", "us")
    entries = [
        {
            "name": f"e{number}",
            "start": f"{begin + np.timedelta64(start, 'h')}+00:00",
            "end": f"{begin + np.timedelta64(start + length, 'h')}+00:00",
            "action": action,
        }
        for number, (start, length, action) in enumerate(events)
    ]
    hours_of = sorted(buckets)
    found = marks(begin + np.array(hours_of, "timedelta64[h]"), "Europe/Berlin", events=entries)
    for i, hour in enumerate(hours_of):
        inside = [n for n, (start, length, _) in enumerate(events) if start <= hour < start + length]
        assert found.suppressed[i] == any(events[n][2] == "suppress" for n in inside)
        assert found.excluded[i] == any(events[n][2] == "exclude_from_training" for n in inside)
        assert found.notes[i] == "; ".join(f"e{n}" for n in inside)
