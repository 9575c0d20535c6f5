"""The window of the dashboard, as people write it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from anomstack_provider.steps.period import Period, PeriodRefused
from tests.steps.conftest import at

NOW = at("2024-03-08T12:00")


@pytest.mark.parametrize(
    ("text", "newest", "length", "words"),
    [
        ("90n", 90, None, "last 90 buckets"),
        ("24h", None, timedelta(hours=24), "last 24 hours"),
        ("45m", None, timedelta(minutes=45), "last 45 minutes"),
        ("7d", None, timedelta(days=7), "last 7 days"),
        (" 7D ", None, timedelta(days=7), "last 7 days"),
        ("1d", None, timedelta(days=1), "last day"),
        ("10000n", 10_000, None, "last 10,000 buckets"),
    ],
)
def test_a_window_is_a_count_or_a_length(text: str, newest: int | None, length: timedelta | None, words: str) -> None:
    period = Period.parse(text)
    assert (period.newest, period.length, str(period)) == (newest, length, words)
    assert period.since(NOW) == (None if length is None else NOW - length)


@pytest.mark.parametrize(
    "text",
    ["", "0n", "-1d", "90", "n", "7w", "1.5h", "7 d", "9999999d", "10001n", "3661d", "7d; drop", "\uff17d", "x" * 99],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(PeriodRefused, match=r"90n \(buckets\), 24h, 45m or 7d|the most"):
        Period.parse(text)
