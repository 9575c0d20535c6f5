"""The first line of every kind of alert at every transition: enough on its own, never a bare score."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.about import About
from anomstack_provider.messages.headline import deviation, headline

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
HOURLY: dict[str, Any] = {
    "metric_batch": "web",
    "metric_name": "orders",
    "grain": "1h",
    "bucket": NOON,
    "direction": "down",
    "value": 1161.0,
    "expected": 2001.7,
    "lower": 1800.0,
    "upper": 2200.4,
}
THRESHOLD = HOURLY | {"kind": "threshold", "direction": "up", "value": 812.0, "expected": None, "lower": None}
THRESHOLD |= {"upper": 500.0, "score": None, "threshold": None}
CHANGE = HOURLY | {"kind": "change", "score": 0.9}
LATE = HOURLY | {"kind": "late", "direction": "none", "value": None, "expected": None, "lower": None, "upper": None}
LATE |= {"score": None, "threshold": None}
SINCE_NINE = {"first_bucket": NOON - timedelta(hours=3), "last_bucket": NOON - timedelta(hours=1), "fired": 3}
STILL = {"first_bucket": NOON - timedelta(days=7), "last_bucket": NOON}
WORST = {"peak_bucket": NOON - timedelta(hours=2), "peak_value": 900.0, "peak_expected": 1990.0}


@pytest.mark.parametrize(
    ("alert", "line"),
    [
        (HOURLY, "[HIGH] web · orders 42 % below expected: 1,161 (Mon 1 Jul 14:00 CEST)"),
        (
            HOURLY | {"transition": "routine", "direction": "none"},
            "[ROUTINE] web · orders 42 % below expected: 1,161 (Mon 1 Jul 14:00 CEST)",
        ),
        (
            HOURLY | {"transition": "routine", "direction": "none", "expected": None},
            "[ROUTINE] web · orders is 1,161 (Mon 1 Jul 14:00 CEST)",
        ),
        (
            HOURLY | {"transition": "escalated"} | SINCE_NINE,
            "[HIGH, escalated] web · orders now 42 % below expected: 1,161 (Mon 1 Jul 14:00 CEST)",
        ),
        (
            HOURLY | {"value": 2010.0} | WORST,
            "[HIGH] web · orders 55 % below expected: 900 (Mon 1 Jul 12:00 CEST)",
        ),
        (
            HOURLY | {"value": 1700.0} | WORST,
            "[HIGH] web · orders 55 % below expected: 900 (Mon 1 Jul 12:00 CEST)",
        ),
        (
            HOURLY | {"transition": "escalated", "value": 1950.0} | SINCE_NINE | WORST,
            "[HIGH, escalated] web · orders now 55 % below expected: 900 (Mon 1 Jul 12:00 CEST)",
        ),
        (
            HOURLY | {"transition": "closed", "value": 2010.0} | SINCE_NINE | WORST,
            "[CLOSED] web · orders back to usual after 3 h, at worst 55 % below expected (Mon 1 Jul 12:00 CEST)",
        ),
        (
            HOURLY | {"transition": "closed"} | SINCE_NINE,
            "[CLOSED] web · orders back to usual after 3 h (Mon 1 Jul 11:00 CEST)",
        ),
        (
            HOURLY | {"transition": "expired"} | STILL,
            "[EXPIRED] web · orders still 42 % below expected: 1,161 after 7 days; silent until it ends"
            " (Mon 1 Jul 14:00 CEST)",
        ),
        (THRESHOLD, "[HIGH] web · orders above 500 (threshold): 812 (Mon 1 Jul 14:00 CEST)"),
        (
            THRESHOLD | {"direction": "down", "lower": 900.0, "upper": None, "severity": "low"},
            "[LOW] web · orders below 900 (threshold): 812 (Mon 1 Jul 14:00 CEST)",
        ),
        (THRESHOLD | {"upper": None}, "[HIGH] web · orders above its threshold: 812 (Mon 1 Jul 14:00 CEST)"),
        (
            THRESHOLD | {"transition": "escalated"},
            "[HIGH, escalated] web · orders now above 500 (threshold): 812 (Mon 1 Jul 14:00 CEST)",
        ),
        (
            THRESHOLD | {"transition": "closed", "value": 400.0} | SINCE_NINE | WORST | {"peak_expected": None},
            "[CLOSED] web · orders back below 500 (threshold) after 3 h, at worst 900 (Mon 1 Jul 12:00 CEST)",
        ),
        (
            THRESHOLD | {"transition": "expired"} | STILL,
            "[EXPIRED] web · orders still above 500 (threshold): 812 after 7 days; silent until it ends"
            " (Mon 1 Jul 14:00 CEST)",
        ),
        (
            CHANGE,
            "[HIGH] web · orders at a new level, 42 % below the old level: 1,161 (Mon 1 Jul 14:00 CEST)",
        ),
        (CHANGE | {"expected": None}, "[HIGH] web · orders at a new level: 1,161 (Mon 1 Jul 14:00 CEST)"),
        (
            CHANGE | {"transition": "escalated"},
            "[HIGH, escalated] web · orders now at a new level, 42 % below the old level: 1,161 (Mon 1 Jul 14:00 CEST)",
        ),
        (
            CHANGE | {"transition": "closed"} | SINCE_NINE | WORST,
            "[CLOSED] web · orders at its usual level again after 3 h, at worst 55 % below the old level"
            " (Mon 1 Jul 12:00 CEST)",
        ),
        (
            CHANGE | {"transition": "expired"} | STILL,
            "[EXPIRED] web · orders still at a new level, 42 % below the old level: 1,161 after 7 days;"
            " silent until it ends (Mon 1 Jul 14:00 CEST)",
        ),
        (LATE, "[LATE] web · orders: no data, overdue since Mon 1 Jul 14:00 CEST"),
        (
            LATE | {"metrics": ("orders", "visits")},
            "[LATE] web: no data for 2 metrics, overdue since Mon 1 Jul 14:00 CEST",
        ),
        (
            LATE | {"grain": "1d", "bucket": datetime(2024, 6, 30, 22, tzinfo=UTC)},
            "[LATE] web · orders: no data, overdue since Mon 1 Jul",
        ),
        (
            LATE | {"transition": "escalated"} | SINCE_NINE | {"last_bucket": NOON},
            "[LATE, escalated] web · orders: still no data, overdue since Mon 1 Jul 11:00 CEST, for 4 h",
        ),
        (LATE | {"metric_name": "web"}, "[LATE] web: no data, overdue since Mon 1 Jul 14:00 CEST"),
        (LATE | {"transition": "closed"} | SINCE_NINE, "[CLOSED] web · orders: data are back, 3 h overdue"),
        (
            LATE | {"transition": "expired"} | STILL,
            "[EXPIRED] web · orders: still no data, overdue since Mon 24 Jun 14:00 CEST, for 7 days;"
            " silent until they are back",
        ),
    ],
)
def test_first_line(make_alert: Callable[..., Alert], alert: dict[str, Any], line: str) -> None:
    assert headline(make_alert(**alert), "Europe/Berlin", About()).line == line


@pytest.mark.parametrize(
    ("about", "alert", "line"),
    [
        (About("Orders", "EUR"), {}, "[HIGH] Orders (hourly) 42 % below expected: 1,161 EUR"),
        (About("Orders (net)"), {}, "[HIGH] Orders (net) 42 % below expected: 1,161"),
        (About("Hourly orders"), {}, "[HIGH] Hourly orders 42 % below expected: 1,161"),
        (About("Orders"), {"grain": "instant"}, "[HIGH] Orders 42 % below expected: 1,161"),
        (
            About(unit="EUR"),
            {"value": 5.0, "expected": 0.0, "direction": "up"},
            "[HIGH] web · orders 5 EUR above expected 0",
        ),
        (About("Orders", "EUR"), LATE, "[LATE] Orders (hourly): no data, overdue since"),
        (About("Orders", "EUR"), THRESHOLD, "[HIGH] Orders (hourly) above 500 (threshold): 812 EUR"),
        (About("a\n" * 99, "b\n" * 99), {}, "[HIGH] a a a"),
    ],
)
def test_title_and_unit(make_alert: Callable[..., Alert], about: About, alert: dict[str, Any], line: str) -> None:
    said = headline(make_alert(**(HOURLY | alert)), "Europe/Berlin", about).line
    assert said.startswith(line)
    assert len(said) <= 200
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "42 % above expected: 0.621"),
        ({"direction": "down", "value": 0.2}, "54 % below expected: 0.2"),
        ({"expected": None}, "unusually high at 0.621"),
        ({"expected": math.nan, "direction": "down"}, "unusually low at 0.621"),
        ({"value": math.nan}, "unusually high, no value"),
        ({"value": None}, "unusually high, no value"),
        ({"direction": "down"}, "unusually low lately, now 42 % above expected: 0.621"),
        ({"value": 0.4375}, "unusually high lately, now as expected"),
    ],
)
def test_deviation(make_alert: Callable[..., Alert], changes: dict[str, object], text: str) -> None:
    assert deviation(make_alert(**changes)) == text
