"""What the messages say, to the letter, and that no name can break out of its place in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.message import CHART_SLOT, Message, chart_note, compose

LINKS = {
    "Run": "https://airflow.example.com/dags/flights/runs/scheduled__2013-02-09T05%3A00%3A00",
    "DAG": "https://airflow.example.com/dags/flights",
}
HOSTILE = "<b onclick='x'>&amp; *bold* _it_ ~no~ `code` <!channel> <@U1>\r\nBcc: evil@example.com \u202eabc"

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "ordinary": ({}, "America/New_York"),
    "hourly": (
        {
            "metric_batch": "web",
            "metric_name": "orders",
            "grain": "1h",
            "bucket": datetime(2024, 7, 1, 12, tzinfo=UTC),
            "direction": "down",
            "value": 1161.0,
            "expected": 2001.7,
            "lower": 1800.0,
            "upper": 2200.4,
            "severity": "medium",
            "tags": (),
        },
        "Europe/Berlin",
    ),
    "no_expectation": ({"expected": None, "lower": None, "upper": None, "severity": "low"}, "UTC"),
    "expected_zero": ({"value": 12_345.0, "expected": 0.0, "lower": -2.0, "upper": 4.0}, "America/New_York"),
    "huge": ({"value": 1.5e12, "expected": 1.2e12, "lower": 1.1e12, "upper": 1.3e12}, "America/New_York"),
    "negative": (
        {"value": -1500.0, "expected": -800.0, "lower": -900.0, "upper": -700.0, "direction": "down"},
        "America/New_York",
    ),
    "tiny": ({"value": 3e-7, "expected": 1e-7, "lower": 0.0, "upper": 2e-7}, "America/New_York"),
    "close": ({"value": 100.4, "expected": 100.2, "lower": 100.1, "upper": 100.3}, "America/New_York"),
    "no_value": ({"value": math.nan, "tags": ()}, "America/New_York"),
    "long_names": (
        {"metric_batch": "batch_" * 20, "metric_name": "metric_" * 40 + "LGA"},
        "America/New_York",
    ),
    "right_to_left": ({"metric_batch": "עסקים", "metric_name": "מדד_الطلبات"}, "Asia/Jerusalem"),
    "hostile": (
        {"metric_batch": HOSTILE, "metric_name": HOSTILE, "tags": ((HOSTILE, HOSTILE),), "note": HOSTILE},
        "UTC",
    ),
    "closed": ({"transition": "closed"}, "America/New_York"),
    "holiday": ({"note": "Holiday: Lincoln's Birthday"}, "America/New_York"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, make_alert: Callable[..., Alert]) -> tuple[str, Message]:
    changes, timezone = CASES[request.param]
    return request.param, compose(make_alert(**changes), timezone=timezone, links=LINKS)


def test_text(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    golden(f"{name}.txt", message.text)


def test_blocks(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    if name in ("ordinary", "hostile"):
        golden(f"{name}.blocks.json", json.dumps(message.blocks, indent=1, ensure_ascii=False) + "\n")


def test_html(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    if name in ("ordinary", "hostile"):
        golden(f"{name}.html", message.html)


def test_the_first_line_is_one_line_and_leads_the_text(case: tuple[str, Message]) -> None:
    _, message = case
    assert message.text.splitlines()[0] == message.first_line
    assert message.first_line.startswith("[")
    assert len(message.first_line) <= 200
    assert message.first_line.isprintable() or "\u2068" in message.first_line


def test_the_first_line_says_what_a_phone_has_to(make_alert: Callable[..., Alert]) -> None:
    message = compose(make_alert(), timezone="America/New_York", links={})
    assert message.first_line == "[HIGH] flights · cancelled_share_LGA 42 % above expected (Fri 8 Feb)"


def test_a_later_transition_does_not_read_like_a_new_alert(make_alert: Callable[..., Alert]) -> None:
    message = compose(make_alert(transition="escalated"), timezone="UTC", links={})
    assert message.first_line.startswith("[HIGH, escalated] ")


class _Tags(HTMLParser):
    """Collects the tags and texts that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    return tags


def test_no_name_becomes_html(make_alert: Callable[..., Alert]) -> None:
    name = f"{HOSTILE}{CHART_SLOT}<script>alert(1)</script>\"'"
    hostile = make_alert(metric_batch=name, metric_name=name, tags=((name, name),), kind=name, event_id=name)
    plain = compose(make_alert(), timezone="UTC", links=LINKS)
    message = compose(hostile, timezone="UTC", links=LINKS)
    assert [tag for tag, _ in parsed(message.html).tags] == [tag for tag, _ in parsed(plain.html).tags]
    assert message.html.count(CHART_SLOT) == 1
    assert any("<script>alert(1)</script>" in text for text in parsed(message.html).texts)


def test_only_web_addresses_become_links(make_alert: Callable[..., Alert]) -> None:
    links = {"Run": "javascript:alert(1)", "DAG": "https://a.example/?q=\"'><x>&y= z"}
    message = compose(make_alert(), timezone="UTC", links=links)
    tags = parsed(message.html)
    assert [attrs["href"] for tag, attrs in tags.tags if tag == "a"] == ["https://a.example/?q=\"'><x>&y=z"]
    addresses = [element["url"] for element in _elements(message.blocks) if element.get("type") == "link"]
    assert addresses == ["https://a.example/?q=\"'><x>&y=z"]
    assert "javascript:alert(1)" in message.text


def _elements(blocks: object) -> Iterator[dict[str, Any]]:
    """Walk through all objects of some Slack blocks."""
    if isinstance(blocks, dict):
        yield blocks
        for value in blocks.values():
            yield from _elements(value)
    elif isinstance(blocks, list):
        for value in blocks:
            yield from _elements(value)


def test_slack_gets_no_markup_from_outside(case: tuple[str, Message]) -> None:
    _, message = case
    objects = list(_elements([*message.blocks, chart_note("<!here> & *x*")]))
    assert not [found for found in objects if found.get("type") == "mrkdwn"]
    for found in objects:
        if found.get("type") == "plain_text":
            assert not set(found["text"]) & set("<>")
            assert found["emoji"] is False
    header = message.blocks[0]["text"]["text"]
    assert 0 < len(header) <= 150


def test_a_reason_to_alert_is_never_a_bare_score(case: tuple[str, Message]) -> None:
    _, message = case
    assert "Anomaly score 0.93 on a scale from 0 (usual) to 1 (extreme); alerts start at 0.8" in message.text
