"""Durations, dates, lists and crons: what is read, what is refused, and in which words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.crons import PRESETS, check_cron, cron_expression, step_warning
from anomstack_provider.config.values import (
    as_utc,
    check_freq,
    check_grain,
    check_timezone,
    format_duration,
    parse_duration,
    parse_moment,
    split_list,
    strip_quotes,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2h", timedelta(hours=2)),
        ("90m", timedelta(minutes=90)),
        ("90min", timedelta(minutes=90)),
        ("1d", timedelta(days=1)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(hours=36)),
        ("1d 12h", timedelta(hours=36)),
        ("1.5h", timedelta(minutes=90)),
        ("0", timedelta(0)),
        (0, timedelta(0)),
        (90, timedelta(seconds=90)),
        (0.5, timedelta(milliseconds=500)),
        ("3600", timedelta(hours=1)),
        ("PT2H", timedelta(hours=2)),
        ("P1DT12H", timedelta(hours=36)),
        ("P2W", timedelta(weeks=2)),
        ("PT1M30S", timedelta(seconds=90)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_duration_is_read(written: object, expected: timedelta):
    assert parse_duration(written) == expected


@pytest.mark.parametrize(
    "written", ["", "h", "2x", "2h3", "P", "PT", "-2h", "1e3", True, None, [], "9" * 400, float("nan")]
)
def test_wrong_duration_is_refused(written: object):
    with pytest.raises(
        ValueError, match=r"^expected a duration such as 90m, 2h, 1d or PT2H, or a number of seconds, got"
    ):
        parse_duration(written)


def test_negative_duration_is_refused():
    with pytest.raises(ValueError, match=r"^expected a duration of 0 or more, got -1$"):
        parse_duration(-1)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100_000)))
def test_a_duration_survives_being_written_and_read(duration: timedelta):
    assert abs(parse_duration(format_duration(duration)) - duration) <= timedelta(microseconds=1)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str):
    try:
        duration = parse_duration(text)
    except ValueError as error:
        words = str(error)
    else:
        assert duration >= timedelta(0)
        return
    assert words.startswith("expected a duration")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-01-31", datetime(2024, 1, 31)),
        ("20240131", datetime(2024, 1, 31)),
        ("2024-01-31 06:30", datetime(2024, 1, 31, 6, 30)),
        ("2024-01-31T06:30:00Z", datetime(2024, 1, 31, 6, 30, tzinfo=UTC)),
        (date(2024, 1, 31), datetime(2024, 1, 31)),
        (datetime(2024, 1, 31, 1, tzinfo=UTC), datetime(2024, 1, 31, 1, tzinfo=UTC)),
    ],
)
def test_moment_is_read(written: object, expected: datetime):
    assert parse_moment(written) == expected


@pytest.mark.parametrize("written", ["31.1.2024", "2024-02-30", "now", 20240131, 1.5, True, None, []])
def test_wrong_moment_is_refused(written: object):
    with pytest.raises(ValueError, match=r"^expected a date such as 2024-01-31 or 2024-01-31T06:00:00\+00:00, got "):
        parse_moment(written)


def test_a_moment_without_offset_is_wall_clock_time_of_the_zone():
    assert as_utc(datetime(2024, 7, 1), "America/New_York") == datetime(2024, 7, 1, 4, tzinfo=UTC)
    assert as_utc(datetime(2024, 1, 1), "America/New_York") == datetime(2024, 1, 1, 5, tzinfo=UTC)


def test_a_moment_outside_the_calendar_is_refused():
    with pytest.raises(ValueError, match=r"^0001-01-01 00:00:00 is outside the calendar$"):
        as_utc(datetime(1, 1, 1), "Asia/Tokyo")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("email,slack", ("email", "slack")),
        (" email , slack ,", ("email", "slack")),
        ("", ()),
        (None, ()),
        (["a, b", "c"], ("a, b", "c")),
        ([2024, "x"], ("2024", "x")),
        ("'a, b', \"c\"", ("'a, b'", '"c"')),
        (("a",), ("a",)),
    ],
)
def test_list_is_read_from_comma_text_and_from_a_list(written: object, expected: tuple[str, ...]):
    assert split_list(written) == expected


def test_inner_quotes_of_metric_names_are_stripped_once():
    assert strip_quotes(("'a'", '"b"', "c", "it's", "'", "''d''")) == ("a", "b", "c", "it's", "'", "'d'")


@pytest.mark.parametrize("grain", ["15min", "1h", "1d", "1w", "1mo", "90min", "instant"])
def test_grain_is_accepted(grain: str):
    assert check_grain(grain) == grain


@pytest.mark.parametrize("grain", ["15m", "0h", "h", "1y", "1.5h", "-1h", "1 h", "1H", "", "Instant"])
def test_wrong_grain_is_refused(grain: str):
    with pytest.raises(
        ValueError, match=r"^expected a number and min, h, d, w or mo, such as 15min, 1h, 1d, or instant; got"
    ):
        check_grain(grain)


@pytest.mark.parametrize("freq", ["10min", "1h", "D", "W-MON", "QS"])
def test_freq_is_accepted(freq: str):
    assert check_freq(freq) == freq


def test_wrong_freq_is_refused():
    with pytest.raises(ValueError, match=r"^expected a frequency such as 10min, 1h or 1D, got '10 min'$"):
        check_freq("10 min")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Europe/Berln", "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"),
        (
            "../etc/passwd",
            "unknown time zone '../etc/passwd'; write an IANA name such as Europe/Berlin or UTC",
        ),
        ("", "unknown time zone ''; write an IANA name such as Europe/Berlin or UTC"),
        ("Mars\0", "unknown time zone 'Mars\0'; write an IANA name such as Europe/Berlin or UTC"),
    ],
)
def test_wrong_timezone_is_refused(name: str, message: str):
    with pytest.raises(ValueError, match=r"^unknown time zone") as raised:
        check_timezone(name)
    assert str(raised.value) == message


def test_a_folder_of_the_timezone_database_is_not_a_timezone():
    with pytest.raises(ValueError, match=r"^unknown time zone 'America'"):
        check_timezone("America")


@pytest.mark.parametrize(
    "cron", ["0 6 * * *", "*/5 * * * *", "*/180 * * * *", "0 0 * * mon-fri", "0 0 l * *", *PRESETS]
)
def test_cron_is_accepted(cron: str):
    assert check_cron(cron) == cron
    assert croniter.is_valid(cron_expression(cron))


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        (
            "0 6 * *",
            "'0 6 * *' is not a cron; write five fields, minute hour day month weekday, such as '0 6 * * *'",
        ),
        (
            "0 0 6 * * *",
            "'0 0 6 * * *' is not a cron; write five fields, minute hour day month weekday, such as '0 6 * * *'",
        ),
        ("", "'' is not a cron; write five fields, minute hour day month weekday, such as '0 6 * * *'"),
        ("0 0 31 2 *", "'0 0 31 2 *' never comes due; no calendar has such a day"),
        ("R * * * *", "'R * * * *' draws a time by chance; write the minutes and hours themselves"),
        (
            "@dayly",
            "unknown preset '@dayly'; known are @hourly, @daily, @midnight, @weekly, @monthly, "
            "@quarterly, @yearly, "
            "@annually, or write a cron such as '0 6 * * *'",
        ),
    ],
)
def test_wrong_cron_is_refused(cron: str, message: str):
    with pytest.raises(ValueError, match=r"cron|preset|due|chance") as raised:
        check_cron(cron)
    assert str(raised.value) == message


@pytest.mark.parametrize("cron", ["61 * * * *", "a * * * *", "0-99999999999 * * * *", "*/0 * * * *", "5-1/99 x * * *"])
def test_cron_that_the_library_refuses_is_refused_with_its_reason(cron: str):
    with pytest.raises(
        ValueError, match=r"is not a cron \(.+\); write minute hour day month weekday, such as '0 6 \* \* \*'"
    ):
        check_cron(cron)


@given(st.lists(st.text("0123456789*/-,#LWRHmon ?", min_size=1, max_size=6), min_size=5, max_size=5).map(" ".join))
def test_any_text_is_a_cron_or_a_value_error(text: str):
    try:
        assert check_cron(text) == text
    except ValueError:
        return
    step_warning(text)


@pytest.mark.parametrize(
    ("cron", "warning"),
    [
        (
            "*/180 * * * *",
            "'*/180 * * * *' is '0 * * * *' to cron: minute 0 only, not every 180 minutes; "
            "for every 3 hours write '0 */3 * * *'",
        ),
        (
            "*/1440 * * * *",
            "'*/1440 * * * *' is '0 * * * *' to cron: minute 0 only, not every 1440 minutes; "
            "for every 24 hours write '0 0 * * *'",
        ),
        ("*/70 3 * * *", "'*/70 3 * * *' is '0 3 * * *' to cron: minute 0 only, not every 70 minutes"),
        (
            "*/25 * * * *",
            "'*/25 * * * *' is minutes 0, 25 and 50 to cron, and then 10 minutes later minute 0 again",
        ),
        (
            "0 */5 * * *",
            "'0 */5 * * *' is hours 0, 5, 10, 15 and 20 to cron, and then 4 hours later hour 0 again",
        ),
        ("0 0 */40 * *", "'0 0 */40 * *' is '0 0 1 * *' to cron: day 1 only, not every 40 days"),
    ],
)
def test_a_step_that_is_not_what_it_looks_like_is_explained(cron: str, warning: str):
    assert step_warning(cron) == warning


@pytest.mark.parametrize(
    "cron", ["*/5 * * * *", "*/60 * * * *", "0 */24 * * *", "0 */6 * * *", "0 0 */3 * *", "@daily"]
)
def test_a_step_that_is_what_it_looks_like_has_no_warning(cron: str):
    assert step_warning(cron) is None


@given(st.integers(1, 2000), st.sampled_from([0, 1]))
def test_the_explained_cron_comes_due_when_the_written_one_does(step: int, position: int):
    written = " ".join(f"*/{step}" if index == position else "0" if index < position else "*" for index in range(5))
    warning = step_warning(written) or ""
    if " is '" in warning:
        meant = warning.split("'")[3]
        first, second = croniter(written, 0.0), croniter(meant, 0.0)
        assert [first.get_next(float) for _ in range(30)] == [second.get_next(float) for _ in range(30)]
    else:
        assert step <= (60, 24)[position]
