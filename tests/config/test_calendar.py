"""Holidays and events: how they may be written, what is wrong with them and where, and files of events."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.config.calendar import Event, Holidays, read_actions
from anomstack_provider.config.cautions import cautions
from anomstack_provider.config.ics import check_ics, occurrences
from anomstack_provider.config.spec import BatchSpec, check

ErrorsOf = Callable[[str], list[str]]


def spec(**keys: object) -> BatchSpec:
    return BatchSpec.model_validate({"metric_batch": "sales", "ingest_sql": "select 1", **keys})


def event(**keys: object) -> Event:
    (found,) = spec(events=[{"name": "x", "start": "2024-05-01", **keys}]).events
    return found


def calendar(*events: str) -> str:
    """Return an iCalendar file of these events, each given by its lines."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tests//EN"]
    for number, text in enumerate(events):
        stamp = [f"UID:{number}@example.com", "DTSTAMP:20240101T000000Z"]
        lines += ["BEGIN:VEVENT", *stamp, *text.splitlines(), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


DAY = "SUMMARY:Sale\nDTSTART;VALUE=DATE:20240501"


# -- how they may be written


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ("DE", [("DE", None)]),
        ("de-by", [("DE", "BY")]),
        ("US-CA, FR", [("US", "CA"), ("FR", None)]),
        (["NO", {"country": "CA", "subdivision": "ON"}], [("NO", None), ("CA", "ON")]),
        (["DE-Bayern"], [("DE", "Bayern")]),
        ({"country": "FR", "subdivision": 57}, [("FR", "57")]),
        ([], []),
        (None, []),
    ],
)
def test_holidays_are_codes_or_mappings(written: Any, places: list[tuple[str, str | None]]):
    found = spec(holidays=[written] if isinstance(written, dict) else written).holidays
    assert [(entry.country, entry.subdivision) for entry in found] == places
    assert {entry.action for entry in found} <= {("treat_as: sunday",)}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("suppress", ("suppress",)),
        ("treat_as: Monday", ("treat_as: monday",)),
        ({"treat_as": "monday"}, ("treat_as: monday",)),
        (["suppress", {"treat_as": "monday"}, "suppress"], ("suppress", "treat_as: monday")),
    ],
)
def test_actions_are_text_a_mapping_or_a_list(written: object, read: tuple[str, ...]):
    assert read_actions(written) == read


def test_an_action_says_what_follows():
    found = event(action=["suppress", "treat_as: sunday", "exclude_from_training"])
    assert (found.suppresses, found.weekday, found.excludes, found.changes_models) == (True, 6, True, True)
    plain = event()
    assert plain.action == ("annotate",)
    assert (plain.suppresses, plain.weekday, plain.excludes, plain.changes_models) == (False, None, False, False)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({}, "abc"),
        ({"metrics": "a"}, "a"),
        ({"tags": {"team": "x"}}, "bc"),
        ({"tags": {"team": "x", "live": True}}, "c"),
        ({"metrics": ["a"], "tags": {"live": "true"}}, "ac"),
    ],
    ids=str,
)
def test_a_scope_is_metrics_or_tags(scope: dict[str, object], covered: str):
    tags = {"a": {}, "b": {"team": "x"}, "c": {"team": "x", "live": "true"}}
    assert "".join(name for name in tags if event(**scope).covers(name, tags[name])) == covered


def test_an_environment_variable_holds_yaml(folder: Any):
    folder.batch("a.yaml", "a")
    variables = {
        "ANOMSTACK__A__HOLIDAYS": "US-CA, DE",
        "ANOMSTACK__A__EVENTS": "[{name: x, start: 2024-05-01, action: [suppress, treat_as: sunday]}]",
    }
    loaded = folder.load(variables).batches["a"].spec
    assert [entry.country for entry in loaded.holidays] == ["US", "DE"]
    assert loaded.events[0].action == ("suppress", "treat_as: sunday")


# -- dates


def bounds(years: int = 0, timezone: str = "UTC", **keys: object) -> list[str]:
    return [moment.strftime("%Y-%m-%d %H:%M") for moment in event(**keys).bounds(timezone, years)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["2024-04-30 22:00", "2024-05-01 22:00"]),
        ({"end": "2024-05-03"}, ["2024-04-30 22:00", "2024-05-03 22:00"]),
        ({"end": "2024-05-03T12:00"}, ["2024-04-30 22:00", "2024-05-03 10:00"]),
        ({"start": "2024-03-31"}, ["2024-03-30 23:00", "2024-03-31 22:00"]),  # 23 hours
        ({"start": "2024-10-27"}, ["2024-10-26 22:00", "2024-10-27 23:00"]),  # 25 hours
        ({"start": "2024-05-01T10:00Z", "end": "2024-05-01T20:00"}, ["2024-05-01 10:00", "2024-05-01 18:00"]),
    ],
    ids=str,
)
def test_a_date_is_a_whole_day_of_the_batchs_zone(keys: dict[str, object], expected: list[str]):
    assert bounds(timezone="Europe/Berlin", **keys) == expected


def test_a_day_whose_midnight_the_clocks_skip_begins_when_they_jump():
    found = bounds(timezone="America/Sao_Paulo", start="2018-11-04")
    assert found == ["2018-11-04 03:00", "2018-11-05 02:00"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"start": "2024-02-29"}, ["2025-03-01 00:00", "2025-03-01 00:00"]),  # no such day, no time
        ({"start": "2024-02-27", "end": "2024-02-29"}, ["2025-02-27 00:00", "2025-03-01 00:00"]),
        ({"start": "2024-02-29", "end": "2024-03-02"}, ["2025-03-01 00:00", "2025-03-03 00:00"]),
        ({"start": "2024-02-28", "end": "2024-03-01"}, ["2025-02-28 00:00", "2025-03-02 00:00"]),
        ({"start": "2024-02-29T06:00", "end": "2024-02-29T18:00"}, ["2025-03-01 00:00", "2025-03-01 00:00"]),
        ({"start": "2024-12-24", "end": "2025-01-02"}, ["2025-12-24 00:00", "2026-01-03 00:00"]),
    ],
    ids=str,
)
def test_a_yearly_event_has_the_days_of_the_year_that_exist(keys: dict[str, object], expected: list[str]):
    assert bounds(years=1, **keys) == expected


def test_a_yearly_event_keeps_its_wall_clock():
    keys = {"start": "2024-03-30T10:00+00:00", "end": "2024-03-30T12:00+00:00"}  # the day before the clocks change
    assert bounds(years=-1, timezone="Europe/Berlin", **keys) == ["2023-03-30 09:00", "2023-03-30 11:00"]


# -- what is wrong


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("holidays: XX\n", "a.yaml:3: holidays[0].country: unknown country 'XX'; give its two letters of ISO 3166, "
         "such as DE"),
        ("holidays: NO\n", "a.yaml:3: holidays: expected a code such as DE, got false; put it in quotes, such as 'NO'"),
        ("holidays:\n  - SE\n  - NO\n", "a.yaml:5: holidays[1]: expected a code such as DE, got false; put it in "
         "quotes, such as 'NO'"),
        ("holidays:\n  - DE\n  - AT-XX\n", "a.yaml:5: holidays[1].subdivision: unknown subdivision 'XX' of AT; known "
         "are 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("holidays: LU-X\n", "a.yaml:3: holidays[0].subdivision: unknown subdivision 'X' of LU; there are none; remove "
         "it"),
        ("holidays: 3\n", "a.yaml:3: holidays: expected a country code such as DE, or a list of them, got 3"),
        ("holidays:\n  - country: DE\n    acton: suppress\n", "a.yaml:5: holidays[0].acton: unknown key; did you mean "
         "'action'?"),
        ("holidays:\n  - country: DE\n    action:\n      treat_as: sonday\n", "a.yaml:5: holidays[0].action: treat_as: "
         "unknown weekday 'sonday'; did you mean 'sunday'?"),
        ("events:\n  - name: x\n    start: 2024-05-01\n    action: ignore\n", "a.yaml:6: events[0].action: unknown "
         "action 'ignore'; known are suppress, exclude_from_training, annotate, treat_as"),
        ("events:\n  - name: x\n    start: 2024-05-01\n    action: [treat_as: sunday, treat_as: monday]\n",
         "a.yaml:6: events[0].action: has treat_as: monday and treat_as: sunday; keep one of them"),
        ("events:\n  - name: x\n    start: 2024-05-01\n    end: 2024-04-30\n", "a.yaml:6: events[0].end: expected an "
         "end after start (2024-05-01), got 2024-04-30"),
        ("events:\n  - name: x\n    start: 2024-05-01T10:00\n", "a.yaml:4: events[0].end: is missing; an event that "
         "starts at a time of day needs one"),
        ("events:\n  - name: x\n    start: 2023-02-29\n", "a.yaml:5: events[0].start: expected a date such as "
         "2024-12-24, or a date and time such as 2024-12-24T18:00, got '2023-02-29'"),
        ("events:\n  - name: x\n    start: 0224-02-29\n", "a.yaml:5: events[0].start: expected a year from 1900 to "
         "2200, got '0224-02-29'"),
        ("events:\n  - start: 2024-05-01\n", "a.yaml:4: events[0].name: is missing; name the event, or give the ics "
         "file that it is in"),
        ("events:\n  - name: x\n", "a.yaml:4: events[0].start: is missing; give a date such as 2024-12-24"),
        ("events:\n  - name: x\n    start: 2023-01-01\n    end: 2024-06-01\n    yearly: true\n", "a.yaml:7: "
         "events[0].yearly: the event is longer than a year; give it once, or shorten it"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_an_error_with_its_line(errors_of: ErrorsOf, keys: str, expected: str):
    assert errors_of("metric_batch: a\ningest_sql: select 1\n" + keys) == [expected]


def test_a_tag_that_no_metric_has_is_cautioned():
    holidays = [{"country": "DE", "tags": {"team": "x"}}]
    assert cautions(spec(holidays=holidays)) == [("holidays", "no metric has the tags team: x in metric_tags")]
    assert cautions(spec(holidays=holidays, metric_tags={"m": {"team": "x"}})) == []


# -- iCalendar files


def test_a_file_is_read_from_beside_the_batch(folder: Any):
    folder.write("team/a.yaml", "metric_batch: a\ningest_sql: select 1\nevents:\n  - ics: cal/shop.ics\n")
    folder.write("team/cal/shop.ics", calendar(DAY))
    batch = folder.load().batches["a"]
    assert batch.spec.events[0].ics == calendar(DAY)
    assert batch.raw["events"] == [{"ics": "cal/shop.ics"}]


def test_a_file_of_the_folders_defaults_is_read_from_beside_them(folder: Any):
    folder.write("defaults/defaults.yaml", "events: [{ics: shop.ics}]\n")
    folder.write("defaults/shop.ics", calendar(DAY))
    folder.batch("team/a.yaml", "a")
    folder.batch("team/b.yaml", "b")
    loaded = folder.load()
    assert {batch.spec.events[0].ics for batch in loaded.batches.values()} == {calendar(DAY)}
    assert loaded.errors == []


def test_a_changed_file_is_another_config(folder: Any):
    keys = "metric_batch: a\ningest_sql: select 1\nevents: [{ics: a.ics, action: exclude_from_training}]\n"
    folder.write("a.yaml", keys)
    hashes = set()
    for text in (calendar(DAY), calendar(DAY, DAY)):
        folder.write("a.ics", text)
        hashes.add(folder.load().batches["a"].spec.config_hash())
    assert len(hashes) == 2


def test_the_text_of_a_file_may_stand_in_its_place():
    assert event(name=None, start=None, ics=calendar(DAY)).ics == calendar(DAY)
    _, problems = check({"metric_batch": "a", "ingest_sql": "x", "events": [{"ics": "a.ics"}]})
    assert [(problem.key, problem.message) for problem in problems] == [
        ("events[0].ics", "'a.ics' cannot be read from here; give the text of the iCalendar file")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory); the path starts at the folder of this file"),
        (b"<html></html>", "is not an iCalendar file: it has no line BEGIN:VCALENDAR"),
        (b"\xff", "is not UTF-8 text (byte 0xff); save the file as UTF-8"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "cannot be read as an iCalendar file: "),
        (calendar("SUMMARY:x").encode(), "cannot be read as an iCalendar file: an event has no DTSTART"),
        (b" " * 1_048_577, "is 1,048,577 bytes long; a file may have 1,048,576"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(folder: Any, content: bytes | None, message: str):
    folder.write("a.yaml", "metric_batch: a\ningest_sql: select 1\nevents:\n  - ics: shop.ics\n    action: ignore\n")
    folder.batch("b.yaml", "b")
    if content is not None:
        folder.write("shop.ics", content)
    loaded = folder.load()
    assert list(loaded.batches) == ["b"]
    first, second = sorted(str(error) for error in loaded.errors)
    assert first.startswith(f"a.yaml:4: events[0].ics: 'shop.ics' {message}")
    assert second.startswith("a.yaml:5: events[0].action: unknown action 'ignore'")


@pytest.mark.parametrize("name", ["../shop.ics", "link.ics", "linked/shop.ics", "{outside}/shop.ics"])
def test_no_file_outside_the_metrics_folder_is_read(folder: Any, name: str):
    outside = folder.root.parent
    (outside / "shop.ics").write_text(calendar(DAY))
    (folder.root / "link.ics").symlink_to(outside / "shop.ics")
    (folder.root / "linked").symlink_to(outside)
    named = name.format(outside=outside)
    folder.write("a.yaml", f"metric_batch: a\ningest_sql: select 1\nevents: [{{ics: {named}}}]\n")
    (error,) = folder.errors()
    assert error == f"a.yaml:3: events[0].ics: '{named}' is outside the metrics folder; put the file into it"


def test_a_pipe_is_no_file(folder: Any):
    os.mkfifo(folder.root / "shop.ics")
    folder.write("a.yaml", "metric_batch: a\ningest_sql: select 1\nevents: [{ics: shop.ics}]\n")
    assert folder.errors() == ["a.yaml:3: events[0].ics: 'shop.ics' is not a regular file"]


@pytest.mark.parametrize(
    "line",
    [
        "DTEND:never",
        "DURATION:long",
        "RRULE:FREQ=NEVER",
        "RRULE:FREQ=SECONDLY",
        "RRULE:FREQ=DAILY;INTERVAL=0",
        "RRULE:nope",
        "RDATE:nope",
        "EXDATE:nope",
        "DTEND;TZID=Mars/Base:20240501T110000",
    ],
)
def test_a_time_that_cannot_be_read_is_refused(line: str):
    with pytest.raises(ValueError, match="cannot be read as an iCalendar file: "):
        check_ics(calendar(f"SUMMARY:x\nDTSTART:20240501T100000Z\n{line}"))


def test_what_says_nothing_of_times_may_be_odd():
    check_ics(calendar(f"{DAY}\nPRIORITY:high\nX-ODD:1"))


def in_may(text: str, timezone: str = "Europe/Berlin") -> list[tuple[str, str, str]]:
    found = occurrences(text, datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC), timezone)
    return [(f"{first:%d %H:%M}", f"{after:%d %H:%M}", name) for first, after, name in found]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("DTSTART;VALUE=DATE:20240503", [("02 22:00", "03 22:00")]),
        ("DTSTART;VALUE=DATE:20240503\nDTEND;VALUE=DATE:20240505", [("02 22:00", "04 22:00")]),
        ("DTSTART:20240503T100000\nDURATION:PT2H", [("03 08:00", "03 10:00")]),
        ("DTSTART:20240503T100000Z\nDTEND:20240503T120000Z", [("03 10:00", "03 12:00")]),
        (
            "DTSTART;TZID=America/New_York:20240101T100000\nDTEND;TZID=America/New_York:20240101T120000\n"
            "RRULE:FREQ=MONTHLY;BYDAY=1MO,2MO\nEXDATE;TZID=America/New_York:20240506T100000",
            [("13 14:00", "13 16:00")],
        ),
        ("DTSTART:20240503T100000Z\nDTEND:20240503T120000Z\nSTATUS:CANCELLED", []),
    ],
    ids=["day", "days", "floating", "utc", "rule in a zone", "cancelled"],
)
def test_the_events_of_a_file(lines: str, expected: list[tuple[str, str]]):
    assert in_may(calendar(f"SUMMARY:Sale\n{lines}")) == [(*times, "Sale") for times in expected]


# -- what it costs


def test_the_libraries_are_loaded_by_the_batches_that_use_them_alone(folder: Any):
    folder.batch("a.yaml", "a")
    folder.batch("b.yaml", "b", holidays="DE", events="[{ics: b.ics}]")
    folder.write("b.ics", calendar(DAY))
    code = (
        "import sys\n"
        "from anomstack_provider.config.loader import load_batches\n"
        "for only in ('a', None):\n"
        "    assert load_batches(sys.argv[1], environ={}, only=only).errors == []\n"
        "    names = {name.partition('.')[0] for name in sys.modules}\n"
        "    print(sorted(names & {'holidays', 'icalendar', 'numpy', 'pandas'}))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.root)], cwd=root, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["[]", "['holidays', 'icalendar']"]


def test_entries_can_be_kept_in_sets():
    one = spec(holidays=[{"country": "DE", "tags": {"a": "b"}}]).holidays
    two = spec(holidays=[{"country": "DE", "tags": {"a": "b"}}]).holidays
    assert {*one, *two} == {Holidays(country="DE", tags={"a": "b"})}
    assert event().start == date(2024, 5, 1)
