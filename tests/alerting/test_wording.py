"""Numbers, distances, names and buckets as people read them."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting.wording import (
    amount,
    distance,
    elide,
    isolated,
    number,
    numbers,
    one_line,
    tag_text,
    unit_text,
)


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
        (100.01, 100, "0.01 above expected 100"),
        (1e12 + 20, 1e12, "20 above expected 1 trillion"),
        (100, 100, "as expected"),
        (250, 100, "150 % above expected"),
        (399, 100, "299 % above expected"),
        (500, 100, "5 times expected"),
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


def test_a_distance_has_a_unit_and_a_base_of_its_own() -> None:
    assert distance(5, 0, unit="EUR") == "5 EUR above expected 0"
    assert distance(150, 100, "the old level") == "50 % above the old level"
    assert distance(100, 100, "the old level") == "at the old level"


def test_a_number_has_a_unit() -> None:
    assert amount(1.5e12, "EUR") == "1.5 trillion EUR"
    assert amount(7) == "7"
    assert unit_text(None) == ""
    assert unit_text("  a\nunit " * 20) == "a unit a u…it a unit"


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
