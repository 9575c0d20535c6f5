"""Numbers, distances, names and buckets as people read them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import (
    bucket_long,
    bucket_short,
    deviation,
    distance,
    elide,
    isolated,
    number,
    numbers,
    one_line,
    tag_text,
)

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (0.62134, "0.621"),
        (12.345, "12.3"),
        (99.96, "100"),
        (12345.678, "12,346"),
        (-1161.4, "-1,161"),
        (999_999.6, "1 million"),
        (2_345_678, "2.35 million"),
        (-7.5e9, "-7.5 billion"),
        (1e12, "1 trillion"),
        (9.996e11, "1 trillion"),
        (3.2e18, "3.2e18"),
        (0.0001, "0.0001"),
        (4.25e-7, "4.25e-7"),
        (math.nan, "no value"),
        (math.inf, "infinite"),
        (-math.inf, "minus infinite"),
    ],
)
def test_a_number_is_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_number_keeps_three_digits(value: float) -> None:
    text = number(value)
    for word, factor in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        if text.endswith(word):
            read = float(text.removesuffix(word).replace(",", "")) * factor
            break
    else:
        read = float(text.replace(",", ""))
    assert math.isclose(read, value, rel_tol=0.0051)
    assert len(text) <= 14


@given(st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=2, max_size=4))
def test_numbers_that_differ_by_more_than_a_millionth_look_different(values: list[float]) -> None:
    texts = numbers(*values)
    largest = max(abs(value) for value in values)
    for a, text_a in zip(values, texts, strict=True):
        for b, text_b in zip(values, texts, strict=True):
            if a == b:
                assert text_a == text_b
    gaps = [abs(a - b) for a in values for b in values if a != b]
    if gaps and min(gaps) > largest * 1e-5:
        assert len(set(texts)) == len(set(values))


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        (142.3, 100, "42 % above expected"),
        (96.6, 100, "3.4 % below expected"),
        (58, 100, "42 % below expected"),
        (0, 100, "100 % below expected"),
        (0.001, 100, "over 99 % below expected"),
        (100.01, 100, "under 0.1 % above expected"),
        (100, 100, "as expected"),
        (250, 100, "150 % above expected"),
        (1200, 100, "12 times expected"),
        (5, 0, "5 above expected 0"),
        (-5, 0, "5 below expected 0"),
        (-50, -100, "50 % above expected"),
        (-150, -100, "50 % below expected"),
        (-1000, -10, "990 below expected -10"),
        (5, -100, "105 % above expected"),
        (2.2e12, 1e12, "120 % above expected"),
        (math.inf, 10, "infinite above expected 10"),
    ],
)
def test_distance(value: float, expected: float, text: str) -> None:
    assert distance(value, expected) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "42 % above expected"),
        ({"direction": "down", "value": 0.2}, "54 % below expected"),
        ({"expected": None}, "unusually high at 0.621"),
        ({"expected": math.nan, "direction": "down"}, "unusually low at 0.621"),
        ({"value": math.nan}, "unusually high, no value"),
        ({"direction": "down"}, "unusually low lately, now 42 % above expected"),
        ({"value": 0.4375}, "unusually high lately, now as expected"),
    ],
)
def test_deviation(make_alert: Callable[..., Alert], changes: dict[str, object], text: str) -> None:
    assert deviation(make_alert(**changes)) == text


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
    make_alert: Callable[..., Alert],
    grain: str,
    bucket: tuple[int, ...],
    timezone: str,
    short: str,
    long: str,
) -> None:
    alert = make_alert(grain=grain, bucket=datetime(*bucket, tzinfo=UTC))  # type: ignore[misc, arg-type]
    assert bucket_short(alert, timezone) == short
    assert bucket_long(alert, timezone) == long


@given(st.text())
def test_one_line_has_no_line_end_control_or_turn_of_direction(text: str) -> None:
    line = one_line(text)
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Zl", "Zp", "Cs"}
    assert not set(line) & set("\u202e\u2066\u2067\u2068\u2069\u200f")
    assert line == line.strip()
    assert len(line.splitlines()) <= 1


@given(st.text(), st.integers(2, 60))
def test_elide_keeps_to_the_limit_and_both_ends(text: str, limit: int) -> None:
    short = elide(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else "…" in short


def test_elide_does_not_tear_an_accent_from_its_letter() -> None:
    for limit in range(4, 20):
        tail = elide("e\u0301" * 20, limit).partition("…")[2]
        assert not tail or not unicodedata.combining(tail[0])


def test_a_right_to_left_name_is_isolated_and_others_are_left_alone() -> None:
    assert isolated("orders") == "orders"
    assert isolated("עב") == "\u2068עב\u2069"


def test_many_tags_are_counted() -> None:
    tags = [(f"key{i}", "v\n") for i in range(25)]
    assert tag_text(tags).endswith("key19: v and 5 more")
