"""Buckets, moments and lengths of time as people read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.messages.buckets import (
    bucket_long,
    bucket_short,
    bucket_start,
    duration,
    lasted,
    rhythm,
    same_bucket,
)

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("grain", "bucket", "timezone", "short", "long"),
    [
        ("1d", (2013, 2, 8, 5), NEW_YORK, "Fri 8 Feb", f"Fri 8 Feb 2013, the whole day ({NEW_YORK})"),
        ("1d", (2013, 2, 8, 0), "UTC", "Fri 8 Feb", "Fri 8 Feb 2013, the whole day (UTC)"),
        (
            "1d",
            (2013, 2, 8, 0),
            NEW_YORK,
            "Thu 7 Feb 19:00 EST",
            f"Thu 7 Feb 2013, 19:00 to Fri 8 Feb 2013, 19:00 EST ({NEW_YORK})",
        ),
        (
            "1h",
            (2013, 2, 8, 19),
            NEW_YORK,
            "Fri 8 Feb 14:00 EST",
            f"Fri 8 Feb 2013, 14:00 to 15:00 EST ({NEW_YORK})",
        ),
        ("1h", (2013, 2, 8, 19), "UTC", "Fri 8 Feb 19:00 UTC", "Fri 8 Feb 2013, 19:00 to 20:00 UTC"),
        (
            "1h",  # the clocks are set back within this bucket
            (2013, 11, 3, 5),
            NEW_YORK,
            "Sun 3 Nov 01:00 EDT",
            f"Sun 3 Nov 2013, 01:00 EDT to 01:00 EST ({NEW_YORK})",
        ),
        ("1d", (2013, 3, 10, 5), NEW_YORK, "Sun 10 Mar", f"Sun 10 Mar 2013, the whole day ({NEW_YORK})"),
        ("1w", (2013, 2, 4, 0), "UTC", "week of Mon 4 Feb", "Mon 4 Feb 2013 to Sun 10 Feb 2013 (UTC)"),
        ("1mo", (2013, 2, 1, 0), "UTC", "Feb 2013", "Feb 2013, the whole month (UTC)"),
        ("2d", (2013, 2, 8, 0), "UTC", "2 days from Fri 8 Feb", "Fri 8 Feb 2013 to Sat 9 Feb 2013 (UTC)"),
        (
            "instant",
            (2013, 2, 8, 19, 3, 20),
            "Asia/Riyadh",
            "Fri 8 Feb 22:03:20 UTC+03",
            "Fri 8 Feb 2013, 22:03:20 UTC+03 (Asia/Riyadh)",
        ),
    ],
)
def test_bucket(
    grain: str,
    bucket: tuple[int, ...],
    timezone: str,
    short: str,
    long: str,
) -> None:
    start = datetime(*bucket, tzinfo=UTC)  # type: ignore[misc, arg-type]
    assert bucket_short(start, grain, timezone) == short
    assert bucket_long(start, grain, timezone) == long


@pytest.mark.parametrize(
    ("length", "grain", "text"),
    [
        (timedelta(minutes=45), "15min", "45 min"),
        (timedelta(hours=3), "1h", "3 h"),
        (timedelta(minutes=90), "15min", "1 h 30 min"),
        (timedelta(hours=24), "1h", "1 day"),
        (timedelta(hours=30), "1h", "1 day 6 h"),
        (timedelta(days=9, hours=5), "1h", "9 days"),
        (timedelta(hours=23), "1d", "1 day"),  # the clocks are set forward within it
        (timedelta(hours=49), "1d", "2 days"),
        (timedelta(days=7), "1w", "7 days"),
        (timedelta(days=31), "1mo", "31 days"),
        (timedelta(0), "instant", ""),
        (timedelta(seconds=20), "instant", ""),
    ],
)
def test_duration(length: timedelta, grain: str, text: str) -> None:
    assert duration(length, grain) == text


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({}, timedelta(days=1)),
        ({"grain": "instant"}, timedelta(0)),
        ({"grain": "1h", "first_bucket": datetime(2013, 2, 8, 3, tzinfo=UTC)}, timedelta(hours=3)),
        # Closed by the first quiet bucket, which is not part of it.
        ({"transition": "closed", "first_bucket": datetime(2013, 2, 7, 5, tzinfo=UTC)}, timedelta(days=1)),
        (
            {"transition": "closed", "grain": "1h", "bucket": datetime(2013, 2, 8, 9, tzinfo=UTC)}
            | {"first_bucket": datetime(2013, 2, 8, 3, tzinfo=UTC), "last_bucket": datetime(2013, 2, 8, 6, tzinfo=UTC)},
            timedelta(hours=4),
        ),
    ],
)
def test_an_event_lasts_from_its_first_bucket_to_the_end_of_its_last(
    make_alert: Callable[..., Alert], changes: dict[str, object], length: timedelta
) -> None:
    assert lasted(make_alert(**changes), NEW_YORK) == length


@pytest.mark.parametrize(
    ("grain", "text"),
    [
        ("1h", "hourly"),
        ("1d", "daily"),
        ("1w", "weekly"),
        ("1mo", "monthly"),
        ("15min", "every 15 min"),
        ("4h", "every 4 h"),
        ("2d", "every 2 days"),
        ("instant", ""),
    ],
)
def test_rhythm(grain: str, text: str) -> None:
    assert rhythm(grain) == text


def test_a_bucket_of_the_season_before_says_which() -> None:
    hour = datetime(2013, 2, 8, 19, tzinfo=UTC)
    assert same_bucket(hour - timedelta(days=7), hour, "1h", NEW_YORK) == (
        "Last week",
        "in the same hour (Fri 1 Feb 14:00 EST)",
    )
    day = datetime(2013, 2, 8, 5, tzinfo=UTC)
    assert same_bucket(day - timedelta(days=7), day, "1d", NEW_YORK)[1] == "on the same day (Fri 1 Feb)"
    week = datetime(2013, 2, 4, tzinfo=UTC)
    assert same_bucket(week - timedelta(days=364), week, "1w", "UTC") == (
        "Last year",
        "in the same week (Mon 6 Feb 2012)",
    )
    assert bucket_start(hour, "1h", NEW_YORK) == "Fri 8 Feb 2013 14:00 EST"
